"""Heads in a model folder are read as written; damaged ones and those of another model are refused."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import model2vec
import numpy as np
import pytest
import sentence_transformers
from safetensors.numpy import load, save
from tiny_tokenizers import named

from encoder import Encoder
from encoder.arrays.mmap_arrays import map_tensors
from encoder.errors import ConfigurationError, InputError, ModelFormatError
from encoder.heads.cases import Cases, Strings
from encoder.heads.drift import Drift
from encoder.heads.files import check_head_name, head_path, pack_head
from encoder.heads.groups import Groups
from encoder.heads.scoring import Classifier, Novelty, Prototypes, unit_vectors
from encoder.heads.vector_index import Cells
from encoder.model import StaticModel, load_model, save_model

DIM = 8
TEXTS = ["card declined", "disk full", "", "é"]


def floats(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


CURVE = (np.array([-1, 1], np.float32), np.array([0.1, 0.9], np.float32))
TEMPLATES = Strings.of(["disk <*> full", "é"])
HEADS = (
    Groups(
        "event",
        Strings.of(["a", "é"]),
        Strings.of(["disk full", "é"]),
        np.array([3, 2]),
        Strings.of(["2026-01-31T12:00:00Z", ""]),
        Strings.of(["disk 7 full", ""]),
        TEMPLATES,
        np.array([1, 0], np.int32),
        Strings.of(["é", "disk <*> full"]),
        np.array([1, 0], np.int32),
        DIM,
        unit_vectors(floats(2, DIM)).astype(np.float16),
        0.5,
        {"records": 5},
    ),
    Classifier("fraud", ("ham", "spam"), floats(2, DIM), floats(2), metadata={"records": 10}),
    Prototypes("incident", ("fan", "disk", "çelik"), unit_vectors(floats(3, DIM)), 0.5),
    Classifier("isotonic", ("x", "y"), floats(2, DIM), floats(2), "isotonic", False, (CURVE, CURVE)),
    Cases(
        "known",
        Strings.of(["1", "é", "x/3"]),
        ("fan", "disk"),
        np.array([0, 1, 1], np.int32),
        unit_vectors(floats(3, DIM)).astype(np.float16),
        0.5,
        2,
        {"cases": 3},
    ),
    Novelty("odd", floats(4, DIM), floats(4), floats(3), 2.5),
    Classifier("tags", ("a", "b", "c"), floats(3, DIM), floats(3), "sigmoid", True),
    Drift(
        "usual",
        unit_vectors(floats(3, DIM)),
        0.25,
        np.full(3, 0.1, np.float32),
        np.array([0.5, 2], np.float32),
        np.array([255, 3], np.uint8),
        ("fraud=ham", "fraud=spam"),
        {"fraud": "0123"},
        *(np.linspace(0.5, 1, 11, dtype=np.float32) for _ in range(2)),
        np.full(11, 100, np.float32),
        *(np.array([32, 64], np.float32) for _ in range(2)),
    ),
)


@pytest.fixture
def model():
    tokenizer = named("uncased")
    table = floats(tokenizer.get_vocab_size(), DIM, seed=1)
    return StaticModel(table, tokenizer.to_str(), {"normalize": True}, heads=HEADS)


@pytest.fixture
def folder(model, tmp_path):
    return save_model(model, tmp_path / "model")


def test_heads_are_read_as_they_were_written(model, folder):
    found = load_model(folder).heads
    assert [head.name for head in found] == [head.name for head in HEADS]
    for head, wanted in zip(found, HEADS, strict=True):
        for key, value in vars(wanted).items():
            if isinstance(value, np.ndarray):
                assert np.array_equal(getattr(head, key), value), key
            elif isinstance(value, Strings):
                assert getattr(head, key).tolist() == value.tolist()
            elif key != "curves":
                assert getattr(head, key) == value, key
    np.testing.assert_array_equal(found[3].curves, HEADS[3].curves)
    vectors = Encoder(model).encode(TEXTS)
    outcomes = [one.heads(vectors, TEXTS) for one in (Encoder(model), Encoder.load(folder))]
    for before, after in zip(*outcomes, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(before, after, strict=True))


def test_model2vec_and_sentence_transformers_load_a_folder_with_heads(folder):
    vectors = Encoder.load(folder).encode(TEXTS[:2])
    theirs = model2vec.StaticModel.from_pretrained(folder)
    np.testing.assert_allclose(theirs.encode(TEXTS[:2]), vectors, atol=1e-6)
    other = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(other.encode(TEXTS[:2]), vectors, atol=1e-6)


@pytest.mark.parametrize("part", ["table", "tokenizer", "normalize", "max_length"])
def test_a_head_of_other_vectors_is_refused(part, model, folder):
    cased = model.tokenizer_json.replace('"lowercase":true', '"lowercase":false')
    other = {
        "table": {"table": model.table + np.float32(1e-6)},
        "tokenizer": {"tokenizer_json": cased},
        "normalize": {"config": {"normalize": False}},
        "max_length": {"config": {"normalize": True, "max_length": 5}},
    }[part]
    changed = save_model(replace(model, heads=(), **other), folder.with_name("changed"))
    (changed / "heads").mkdir()
    (changed / head_path("fraud")).write_bytes((folder / head_path("fraud")).read_bytes())
    with pytest.raises(
        ModelFormatError, match=r"'fraud' was fitted to other vectors .* `millstream head fit`"
    ):
        load_model(changed)


def test_saving_a_model_again_keeps_its_heads_valid(folder):
    again = save_model(load_model(folder), folder.with_name("again"))
    assert len(load_model(again).heads) == len(HEADS)


def rewritten(data, **changes):
    """A head's file with some of its arrays or of its JSON changed."""
    size = int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["millstream.head"])
    tensors = load(data)
    for key, value in changes.items():
        (tensors if isinstance(value, np.ndarray) else about)[key] = value
    return save(tensors, {"millstream.head": json.dumps(about)})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, "it has format 2, this Millstream reads 1: upgrade Millstream"),
        ({"kind": "oracle"}, "Invalid enum value 'oracle'"),
        ({"name": "other"}, "it holds a head 'other'"),
        ({"labels": ["a", "b", "c"]}, "do not have 3 labels or axes and 8 dimensions"),
        ({"directions": floats(2, DIM + 1)}, "do not have 2 labels or axes and 8 dimensions"),
        ({"directions": floats(2, DIM).astype(np.float64)}, "'directions' must be finite float32 numbers"),
        ({"offsets": np.array([1, np.nan], np.float32)}, "'offsets' must be finite float32 numbers"),
        ({"link": "isotonic"}, "its curves do not match its labels"),
        ({"several": True}, "softmax cannot give more than one label"),
        ({"directions": np.full((2, DIM), 3e38, np.float32)}, "so large that scores could be infinite"),
        ({"offsets": np.array(1, np.float32)}, "do not have 2 labels or axes and 8 dimensions"),
        ({"curve.0": np.array(1, np.float32)}, "curve.0 has shape (): it must be (2, n_points)"),
        ({"curve.0": floats(3, 2)}, "curve.0 has shape (3, 2): it must be (2, n_points)"),
        ({"curve.x": floats(2, 2)}, "invalid literal for int()"),
        ({"facts": json.loads("[" * 500 + "]" * 500)}, "Expected `object`, got `array`"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(changes, reason, folder):
    path = folder / head_path("fraud")
    path.write_bytes(rewritten(path.read_bytes(), **changes))
    with pytest.raises(ModelFormatError) as caught:
        load_model(folder)
    assert str(caught.value).startswith(f"{path} is not a head: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("squares", [np.array(1, np.float32), floats(3, 2), np.full(3, 3e38, np.float32)])
def test_a_measure_of_novelty_that_contradicts_itself_or_is_infinite_is_refused(squares, folder):
    path = folder / head_path("odd")
    path.write_bytes(rewritten(path.read_bytes(), squares=squares))
    with pytest.raises(ModelFormatError, match=r"odd.safetensors is not a head: "):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"centres": floats(3, DIM)}, "centres do not have length 1"),
        ({"centres": unit_vectors(floats(3, DIM + 1))}, "its centres have shape (3, 9)"),
        ({"spreads": np.zeros(3, np.float32)}, "its groups do not have a positive spread each"),
        ({"spreads": floats(2)}, "its groups do not have a positive spread each"),
        ({"limits": floats(3)}, "its limits and tokens have another shape"),
        ({"tokens": floats(3)}, "'tokens' must be finite uint8 numbers"),
        ({"means": floats(7)}, "its arrays do not have 11 measures"),
        ({"variances": np.zeros(11, np.float32)}, "its variances or counts are not positive"),
        ({"sizes": np.array([64, 32], np.float32)}, "its sizes of windows do not rise"),
        ({"levels": np.ones(3, np.float32)}, "its levels do not match its sizes of windows"),
        ({"threshold": None}, "it has no threshold"),
    ],
)
def test_a_baseline_that_contradicts_itself_is_refused(changes, reason, folder):
    path = folder / head_path("usual")
    path.write_bytes(rewritten(path.read_bytes(), **changes))
    with pytest.raises(ModelFormatError) as caught:
        load_model(folder)
    assert reason in str(caught.value)


@pytest.mark.parametrize("kind", ["FIFO", "link"])
def test_a_head_that_is_no_file_of_the_folder_is_refused(kind, folder, tmp_path):
    path = folder / head_path("odd")
    path.rename(tmp_path / "outside")
    os.mkfifo(path) if kind == "FIFO" else path.symlink_to(tmp_path / "outside")
    with pytest.raises(ModelFormatError, match=rf"{path} is a {kind}"):
        load_model(folder)


@pytest.mark.parametrize("length", [0, 4, 8, 100, -1])
def test_a_file_that_is_cut_off_is_refused(length, folder):
    path = folder / head_path("odd")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ModelFormatError, match=r"odd.safetensors is not a head: "):
        load_model(folder)


def test_another_safetensors_file_is_not_a_head(folder):
    (folder / head_path("other")).write_bytes(save({"x": floats(2)}))
    with pytest.raises(ModelFormatError, match=r"other.safetensors is not a head: "):
        load_model(folder)


@pytest.mark.parametrize("name", ["", "1st", "a-b", "a b", "a/b", "é", "a" * 51, "_a", "a\n"])
def test_names_that_no_column_can_begin_with_are_refused(name):
    with pytest.raises(ConfigurationError, match="not a name for a head"):
        check_head_name(name)


@pytest.mark.slow
def test_serving_needs_no_scikit_learn(folder):
    program = """
import sys
class Blocked:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("sklearn", "scipy", "torch"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
from encoder import Encoder
encoder = Encoder.load(sys.argv[1])
print(encoder.heads.names, [len(outcome) for outcome in encoder.heads(encoder.encode(["x"]), ["x"])])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names = "('event', 'fraud', 'incident', 'isotonic', 'known', 'odd', 'tags', 'usual')"
    assert done.stdout.strip() == f"{names} [3, 2, 2, 2, 2, 2, 1, 1]"


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("number", range(len(HEADS)))
def test_a_head_with_numbers_that_are_not_finite_is_not_written(number, value, model, tmp_path):
    head = HEADS[number]
    kinds = {"classifier": "weights", "cases": "vectors", "groups": "vectors", "drift": "centres"}
    array = kinds.get(head.kind, "directions")
    numbers = getattr(head, array).astype(np.float64)
    numbers[-1, 2] = value
    head = replace(head, **{array: numbers})
    with pytest.raises(
        InputError, match=f"the head {head.name!r} has (directions|vectors|centres) that is not finite"
    ):
        save_model(replace(model, heads=(head,)), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("head", [HEADS[0], HEADS[2], HEADS[4], HEADS[5]])
def test_a_threshold_that_is_not_finite_is_not_written(head):
    with pytest.raises(InputError, match="has threshold that is not finite"):
        pack_head(replace(head, threshold=float("nan")), "sha256:0")


@pytest.mark.parametrize("value", [object(), float("nan"), [1, {"a": float("-inf")}]])
def test_metadata_that_is_no_json_is_not_written(value, model, tmp_path):
    head = replace(HEADS[1], metadata={"records": 10, "x": value})
    with pytest.raises(InputError, match="`metadata` of the head 'fraud' must be JSON"):
        save_model(replace(model, heads=(head,)), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_head_is_packed_into_the_same_bytes_each_time():
    digest = f"sha256:{'0' * 64}"
    assert [pack_head(head, digest) for head in HEADS] == [pack_head(head, digest) for head in HEADS]


KNOWN = next(head for head in HEADS if isinstance(head, Cases))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"vectors": np.ones((3, DIM), np.float16)}, "its vectors do not have length 1"),
        ({"vectors": KNOWN.vectors[:, 1:]}, "its vectors have shape"),
        ({"vectors": KNOWN.vectors[:0]}, "its vectors have shape"),
        ({"vectors": KNOWN.vectors.astype(np.float32)}, "'vectors' is float32, not float16"),
        ({"case_labels": np.array([0, 1, 2], np.int32)}, "one of its labels each"),
        ({"case_labels": np.array([0, -1, 1], np.int32)}, "one of its labels each"),
        ({"case_labels": np.array([0, 1], np.int32)}, "one of its labels each"),
        ({"id_ends": np.array([0, 1, 3, 2], np.int64)}, "do not have a place each"),
        ({"id_ends": np.array([0, 1, 3, 1 << 40], np.int64)}, "do not have a place each"),
        ({"id_ends": np.array([-1, 1, 3, 6], np.int64)}, "do not have a place each"),
        ({"id_ends": np.zeros(0, np.int64)}, "do not have a place each"),
        ({"id_ends": np.array([0, 1, 2, 6], np.int64)}, "codec can't decode"),
        (
            {"id_bytes": np.frombuffer(b"11", np.uint8), "id_ends": np.array([0, 1, 2, 2])},
            "an id of their own",
        ),
        ({"id_ends": np.array([0, 6], np.int64)}, "an id of their own"),
        ({"label_ends": np.array([0, 9, 7], np.int64)}, "do not have a place each"),
    ],
)
def test_known_cases_that_do_not_fit_together_are_refused(changed, reason, folder):
    refused(folder, changed, reason)


def refused(folder, changed, reason):
    path = folder / head_path("known")
    tensors, metadata = map_tensors(path)
    tensors = {name: np.array(array) for name, array in tensors.items()} | changed
    path.unlink()
    path.write_bytes(save({name: array for name, array in tensors.items() if array is not None}, metadata))
    with pytest.raises(ModelFormatError, match=f"known.safetensors is not a head: .*{re.escape(reason)}"):
        load_model(folder)


def strings(name, *texts):
    """The arrays of other strings in a file."""
    packed = Strings.of(texts)
    return {f"{name}_bytes": packed.data, f"{name}_ends": packed.ends}


LONG = Strings.of(["é", " ".join("a" * 65)])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"vectors": np.ones((2, DIM), np.float16)}, "its vectors do not have length 1"),
        ({"vectors": np.ones((2, DIM + 1), np.float16)}, "a model of 9 dimensions, not 8"),
        ({"vectors": np.zeros((0, DIM), np.float16)}, "its vectors do not have a threshold"),
        ({"vectors": np.zeros((3, DIM), np.float16)}, "its vectors have shape"),
        ({"vectors": np.zeros(DIM, np.float16)}, "its vectors do not have a threshold"),
        ({"sizes": np.array([1.0, 2.0])}, "'sizes' is float64, not int64"),
        ({"sizes": np.array([1, -1])}, "a size"),
        ({"sizes": np.array([1])}, "a size"),
        ({"sizes": np.array([[1, 2]])}, "a size"),
        ({"group": np.array([0, 2], np.int32)}, "a group and a template each"),
        ({"group": np.array([0, -1], np.int32)}, "a group and a template each"),
        ({"template": np.array([0], np.int32)}, "a group and a template each"),
        ({"template": np.array([[0, 1]], np.int32)}, "a group and a template each"),
        ({"ids_ends": np.array([0, 1, 1 << 40])}, "do not have a place each"),
        ({"ids_ends": np.array([0, 2, 3])}, "codec can't decode"),
        ({"templates_bytes": np.full(13, 0xFF, np.uint8)}, "a place each"),
        (strings("ids", "a", "a"), "an id of their own each"),
        (strings("ids"), "an id of their own each"),
        (strings("titles", "a"), "a title"),
        (strings("examples", "a", "b", "c"), "an example each"),
        (strings("rows", "disk <*> full", "é"), "ascending"),
        (strings("rows", "", "é"), "1 to 64 words"),
        ({"rows_bytes": LONG.data, "rows_ends": LONG.ends}, "1 to 64 words"),
    ],
)
def test_groups_that_do_not_fit_together_are_refused(changed, reason, folder):
    path = folder / head_path("event")
    tensors, metadata = map_tensors(path)
    tensors = {name: np.array(array) for name, array in tensors.items()} | changed
    path.unlink()
    path.write_bytes(save(tensors, metadata))
    with pytest.raises(ModelFormatError, match=f"event.safetensors is not a head: .*{re.escape(reason)}"):
        load_model(folder)


IN_CELLS = replace(KNOWN, cells=Cells(KNOWN.vectors[:2], np.array([0, 1, 3])))


def test_cells_of_cases_are_read_as_they_were_written(model, tmp_path):
    folder = save_model(replace(model, heads=(IN_CELLS,)), tmp_path / "cells")
    (found,) = load_model(folder).heads
    np.testing.assert_array_equal(found.cells.centroids, IN_CELLS.cells.centroids)
    np.testing.assert_array_equal(found.cells.ends, IN_CELLS.cells.ends)
    assert isinstance(found.index.codes, np.memmap)  # which processes share
    np.testing.assert_array_equal(found.index.codes, IN_CELLS.index.codes)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"cell_ends": np.array([0, 2, 3])}, "its index is not that of its vectors"),
        ({"cell_ends": np.array([0, 3, 3])}, "its cells do not have a case each"),
        ({"cell_ends": np.array([0, 1, 1 << 40])}, "its cells do not have a case each"),
        ({"cell_ends": np.array([-1, 1, 3])}, "its cells do not have a case each"),
        ({"cell_ends": np.zeros(0, np.int64)}, "its cells do not have a case each"),
        ({"cell_ends": None}, "cell_ends"),
        ({"centroids": np.ones((2, DIM), np.float16)}, "its vectors do not have length 1"),
        ({"centroids": np.full((2, DIM), np.nan, np.float16)}, "its vectors do not have length 1"),
        ({"centroids": KNOWN.vectors}, "its centroids have shape"),
        ({"codes": IN_CELLS.index.codes[:1]}, "its index has shape"),
        ({"codes": IN_CELLS.index.codes ^ 1}, "its index is not that of its vectors"),
        ({"codes": IN_CELLS.index.codes.astype(np.int8)}, "'codes' is int8, not uint8"),
    ],
)
def test_an_index_that_is_not_that_of_its_cases_is_refused(changed, reason, model, tmp_path):
    refused(save_model(replace(model, heads=(IN_CELLS,)), tmp_path / "cells"), changed, reason)


@pytest.mark.parametrize("nearest", [0, -1, 101, 1 << 60])
def test_a_number_of_cases_that_no_head_gives_is_refused(nearest, folder):
    path = folder / head_path("known")
    tensors, metadata = map_tensors(path)
    about = json.loads(metadata["millstream.head"]) | {"nearest": nearest}
    data = save(
        {name: np.array(array) for name, array in tensors.items()}, {"millstream.head": json.dumps(about)}
    )
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(ModelFormatError, match="1 to 100 can be had"):
        load_model(folder)
