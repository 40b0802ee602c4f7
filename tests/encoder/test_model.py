"""The folder of a static model: what is written here loads everywhere, and the other way round."""

import errno
import importlib
import json
import os
import shutil
import stat
import warnings

import model2vec
import numpy as np
import pytest
import tiny_tokenizers
from model2vec.quantization import quantize_embeddings
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from encoder import Encoder
from encoder import model as model_module
from encoder.errors import MillstreamError, ModelFormatError, OutputConflict
from encoder.model import DEFAULT_MAX_LENGTH, StaticModel, load_model, save_model
from encoder.tokenizer.tables import TABLES_FILE

DIM = 16
KINDS = ["float32", "float16", "int8", "weights and mapping", "int8 with weights and mapping"]
TEXTS = [*tiny_tokenizers.SAMPLE, "", "card declined", "☃", "[MASK] card"]


def _model(kind="float32", **config):
    tokenizer = tiny_tokenizers.named("uncased")
    n_tokens = len(tokenizer.get_vocab())
    random = np.random.default_rng(11)
    config = {"normalize": True, "max_length": 512, **config}
    table = random.normal(size=(n_tokens, DIM)).astype(np.float32)
    if kind == "int8":
        return StaticModel(quantize_embeddings(table, "int8"), tokenizer.to_str(), config)
    if "mapping" in kind:
        mapping, weights = random.integers(0, 40, n_tokens), random.random(n_tokens).astype(np.float32)
        rows = quantize_embeddings(table[:40], "int8") if kind.startswith("int8") else table[:40]
        return StaticModel(rows, tokenizer.to_str(), config, weights, mapping)
    return StaticModel(table.astype(kind), tokenizer.to_str(), config)


@pytest.fixture
def folder(tmp_path):
    """A float32 model as a folder, to be damaged."""
    return save_model(_model(), tmp_path / "minilm")


def _same(one, other):
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and np.array_equal(one, other)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_loads_unchanged(kind, normalize, tmp_path):
    model = _model(kind, normalize=normalize, max_length=77, language=["en"])
    loaded = load_model(save_model(model, tmp_path / "a"))
    assert _same(loaded.table, model.table)
    assert _same(loaded.weights, model.weights)
    assert _same(loaded.mapping, model.mapping)
    assert loaded.tokenizer_json == model.tokenizer_json
    assert (loaded.normalize, loaded.max_length, loaded.dim) == (normalize, 77, DIM)
    assert loaded.config["language"] == ["en"]
    again = load_model(save_model(loaded, tmp_path / "b"))
    assert _same(again.table, model.table)
    assert again.config == loaded.config


def test_the_table_is_mapped_into_memory_not_read(tmp_path):
    assert isinstance(load_model(save_model(_model(), tmp_path / "a")).table, np.memmap)


@pytest.mark.parametrize(("config", "limit"), [({}, DEFAULT_MAX_LENGTH), ({"max_length": None}, None)])
def test_the_limit_is_model2vecs_default_unless_it_is_lifted(config, limit, folder):
    (folder / "config.json").write_text(json.dumps(config))
    assert load_model(folder).max_length == limit
    assert load_model(folder).normalize is False
    assert model2vec.StaticModel.from_pretrained(folder).max_length == limit


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_model2vec_loads_ours_and_gives_the_same_vectors(kind, tmp_path):
    folder = save_model(_model(kind), tmp_path / "a", readme="---\nlanguage: en\n---\n# A model\n")
    theirs = model2vec.StaticModel.from_pretrained(folder).encode(TEXTS)
    np.testing.assert_allclose(
        Encoder.load(folder).encode(TEXTS), theirs, atol=2e-3 if kind == "float16" else 1e-5
    )


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("clusters", [None, 30])
def test_we_load_model2vecs_and_give_the_same_vectors(clusters, dtype, normalize, tmp_path):
    random = np.random.default_rng(4)
    table, mapping, weights = random.normal(size=(clusters or len(TOKENS), DIM)), None, None
    if clusters:
        mapping, weights = random.integers(0, clusters, len(TOKENS)), random.random(len(TOKENS))
    theirs = model2vec.StaticModel(
        quantize_embeddings(table, dtype),
        tiny_tokenizers.named("uncased"),
        {"tokenizer_name": "tiny"},
        normalize=normalize,
        weights=weights,
        token_mapping=mapping,
        max_length=20,
    )
    theirs.save_pretrained(tmp_path / "theirs")
    found, expected = Encoder.load(tmp_path / "theirs").encode(TEXTS), theirs.encode(TEXTS)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 if dtype != "float16" else 2e-3)


def _number(folder, value, *, array="embeddings", dtype=np.float32):
    def change(tensors):
        numbers = tensors.get(array, np.ones(len(TOKENS))).astype(dtype)
        numbers[7] = value
        tensors[array] = numbers

    _tensors(folder, change)


@pytest.mark.parametrize(
    ("array", "dtype", "value"),
    [
        *(("embeddings", dtype, value) for dtype in "fed" for value in (np.nan, np.inf, -np.inf)),
        ("embeddings", "f", 65_505),
        ("embeddings", "d", -1e300),
        ("weights", "f", np.nan),
        ("weights", "f", -np.inf),
        ("weights", "d", 1e9),
    ],
)
def test_numbers_that_make_no_finite_vectors_are_refused_with_their_row(array, dtype, value, folder):
    _number(folder, value, array=array, dtype=dtype)
    with pytest.raises(
        ModelFormatError, match=r"the vector of (row|token) 7: numbers must be finite"
    ) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)


def test_the_largest_number_of_float16_is_loaded(folder):
    _number(folder, -65_504)
    assert load_model(folder).table.min() == -65_504


@pytest.mark.parametrize("value", [np.nan, 1e30])
def test_a_model_without_finite_vectors_is_not_saved(value, tmp_path):
    model = _model()
    model.table[3, 2] = value
    with pytest.raises(ModelFormatError, match="the vector of row 3"):
        save_model(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def _quiet_sentence_transformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = importlib.import_module("sentence_transformers")
        modules = importlib.import_module("sentence_transformers.models")
        return library.SentenceTransformer, modules


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("normalize", [True, False])
def test_sentence_transformers_load_ours_and_we_load_theirs(normalize, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    sentence_transformer, modules = _quiet_sentence_transformers()
    folder = save_model(_model(normalize=normalize, max_length=None), tmp_path / "ours")
    ours = Encoder.load(folder).encode(TEXTS[:7])
    static = modules.StaticEmbedding.from_model2vec(str(folder))
    for theirs in (
        sentence_transformer(str(folder), device="cpu"),
        sentence_transformer(modules=[static, *([modules.Normalize()] if normalize else [])], device="cpu"),
    ):
        np.testing.assert_allclose(theirs.encode(TEXTS[:7]), ours, atol=1e-5)
        shutil.rmtree(tmp_path / "theirs", ignore_errors=True)
        theirs.save(str(tmp_path / "theirs"))
        loaded = load_model(tmp_path / "theirs")
        assert loaded.normalize == normalize
        np.testing.assert_allclose(Encoder(loaded).encode(TEXTS[:7]), ours, atol=1e-5)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("inner", ["", "0_StaticEmbedding"])
def test_layouts_of_sentence_transformers_are_loaded(inner, normalize, tmp_path):
    model = _model()
    (tmp_path / "st" / inner).mkdir(parents=True)
    save_file({"embedding.weight": model.table}, tmp_path / "st" / inner / "model.safetensors")
    (tmp_path / "st" / inner / "tokenizer.json").write_text(model.tokenizer_json, encoding="utf-8")
    (tmp_path / "st" / "config_sentence_transformers.json").write_text('{"similarity_fn_name": "cosine"}')
    modules = [{"type": "sentence_transformers.models.StaticEmbedding", "path": inner}]
    modules += [{"type": "sentence_transformers.models.Normalize", "path": "1_Normalize"}] * normalize
    (tmp_path / "st" / "modules.json").write_text(json.dumps(modules))
    loaded = load_model(tmp_path / "st")
    assert _same(loaded.table, model.table)
    assert loaded.normalize == normalize
    (tmp_path / "st" / "modules.json").unlink()
    assert load_model(tmp_path / "st").normalize is False


def _cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


def _tensors(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)


def _mapped(tensors, mapping):
    tensors["embeddings"] = tensors["embeddings"][:40]
    tensors["mapping"] = mapping(len(TOKENS))


TOKENS = tiny_tokenizers.named("uncased").get_vocab()
DAMAGE = {
    "no table": lambda f: (f / "model.safetensors").unlink(),
    "no tokenizer": lambda f: (f / "tokenizer.json").unlink(),
    "no settings": lambda f: (f / "config.json").unlink(),
    "an empty folder": lambda f: [path.unlink() for path in f.iterdir()],
    "settings cut off": lambda f: _cut(f / "config.json", 20),
    "settings that are a list": lambda f: (f / "config.json").write_text("[1]"),
    "settings that are null": lambda f: (f / "config.json").write_text("null"),
    "settings in another encoding": lambda f: (f / "config.json").write_bytes(b'{"a": "\xff"}'),
    "a limit that is no number": lambda f: (f / "config.json").write_text('{"max_length": "long"}'),
    "a limit below zero": lambda f: (f / "config.json").write_text('{"max_length": -1}'),
    "a tokenizer cut off": lambda f: _cut(f / "tokenizer.json", 2000),
    "an empty tokenizer": lambda f: (f / "tokenizer.json").write_text("{}"),
    "an empty table": lambda f: _cut(f / "model.safetensors", 0),
    "a table cut off in its head": lambda f: _cut(f / "model.safetensors", 40),
    "a table cut off in its numbers": lambda f: _cut(f / "model.safetensors", 9000),
    "a table of text": lambda f: (f / "model.safetensors").write_text("not found " * 100),
    "a table by another name": lambda f: _tensors(f, lambda t: t.update(vectors=t.pop("embeddings"))),
    "a table of int64": lambda f: _tensors(
        f, lambda t: t.update(embeddings=t["embeddings"].astype(np.int64))
    ),
    "a flat table": lambda f: _tensors(f, lambda t: t.update(embeddings=t["embeddings"].ravel())),
    "a table of three dimensions": lambda f: _tensors(
        f, lambda t: t.update(embeddings=t["embeddings"][..., None])
    ),
    "a single number": lambda f: _tensors(f, lambda t: t.update(embeddings=np.array(1.0, np.float32))),
    "a table without rows": lambda f: _tensors(f, lambda t: t.update(embeddings=t["embeddings"][:0])),
    "a table without columns": lambda f: _tensors(f, lambda t: t.update(embeddings=t["embeddings"][:, :0])),
    "fewer vectors than tokens": lambda f: _tensors(f, lambda t: t.update(embeddings=t["embeddings"][:-1])),
    "fewer weights than tokens": lambda f: _tensors(f, lambda t: t.update(weights=np.ones(len(TOKENS) - 1))),
    "flat weights expected": lambda f: _tensors(f, lambda t: t.update(weights=np.ones((len(TOKENS), 2)))),
    "mapping behind the table": lambda f: _tensors(f, lambda t: _mapped(t, lambda n: np.full(n, 40))),
    "mapping below zero": lambda f: _tensors(f, lambda t: _mapped(t, lambda n: np.full(n, -1))),
    "mapping too short": lambda f: _tensors(f, lambda t: _mapped(t, lambda n: np.zeros(n - 1, np.int64))),
    "an empty mapping": lambda f: _tensors(f, lambda t: _mapped(t, lambda _: np.zeros(0, np.int64))),
    "mapping of floats": lambda f: _tensors(f, lambda t: _mapped(t, lambda n: np.zeros(n, np.float32))),
    "mapping of two columns": lambda f: _tensors(
        f, lambda t: _mapped(t, lambda n: np.zeros((n, 2), np.int64))
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_refused_by_its_name_in_one_line(damage, folder):
    DAMAGE[damage](folder)
    with pytest.raises(ModelFormatError) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_broken_modules_of_sentence_transformers_are_refused(folder):
    (folder / "config.json").rename(folder / "config_sentence_transformers.json")
    for text in ("[{", '{"type": 1}', "[1]", "null"):
        (folder / "modules.json").write_text(text)
        with pytest.raises(ModelFormatError, match=str(folder)):
            load_model(folder)


def test_a_folder_that_is_not_there_or_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    for name in ("missing", "file"):
        with pytest.raises(ModelFormatError, match=f"no model folder at {tmp_path / name}"):
            load_model(tmp_path / name)


def test_a_table_that_may_not_be_read_is_named(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to(folder / "tokenizer.json")
    with pytest.raises(ModelFormatError, match=str(folder)):
        load_model(folder)


def test_more_weights_than_tokens_still_fit(folder):
    _tensors(folder, lambda t: t.update(weights=np.full(len(TOKENS) + 3, 2.0, np.float32)))
    expected = Encoder(_model()).encode(TEXTS)
    np.testing.assert_allclose(Encoder.load(folder).encode(TEXTS), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["with rows to spare", "with added tokens"])
def test_tables_larger_than_their_tokenizer_are_loaded(name, folder):
    if name == "with added tokens":
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.add_tokens(["zzz"])
        tokenizer.save(str(folder / "tokenizer.json"))
        with pytest.raises(ModelFormatError, match=r"\d+ vectors for \d+ tokens"):
            load_model(folder)
    _tensors(
        folder, lambda t: t.update(embeddings=np.vstack([t["embeddings"], np.ones((4, DIM), np.float32)]))
    )
    assert len(load_model(folder).table) == len(TOKENS) + 4


def test_saved_files_can_be_read_by_others(tmp_path):
    old = os.umask(0o022)
    try:
        folder = save_model(_model("weights and mapping"), tmp_path / "a" / "b", readme="# A model\n")
    finally:
        os.umask(old)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    names = ["model.safetensors", "tokenizer.json", "config.json", "modules.json", "README.md", TABLES_FILE]
    assert modes == dict.fromkeys(names, 0o644)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_settings_say_what_was_saved(tmp_path):
    folder = save_model(_model("weights and mapping"), tmp_path / "a")
    config = json.loads((folder / "config.json").read_text())
    assert config["embedding_dtype"] == "float32"
    assert config["vocabulary_quantization"] == 40
    assert "vocabulary_quantization" not in json.loads(
        (save_model(_model("int8", vocabulary_quantization=3), tmp_path / "b") / "config.json").read_text()
    )


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("step", ["write_tensors", "write_text", "rename"])
def test_a_failed_write_leaves_nothing(step, exists, tmp_path, monkeypatch):
    target = tmp_path / "minilm"
    if exists:
        target.mkdir()
    calls = []

    def fail(*_args, **_options):
        calls.append(step)
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "write_tensors":
        monkeypatch.setattr(model_module, "write_tensors", fail)
    else:
        monkeypatch.setattr(model_module.Path, step, fail)
    with pytest.raises((OSError, MillstreamError)):
        save_model(_model(), target)
    assert calls
    assert [path for path in tmp_path.rglob("*") if path != target] == []
    monkeypatch.undo()
    assert load_model(save_model(_model(), target)).dim == DIM


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(model_module, "write_tensors", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_model(_model(), tmp_path / "minilm")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "minilm").mkdir()
    (tmp_path / "minilm" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("minilm", "file"):
        with pytest.raises(OutputConflict, match=f"{tmp_path / name} already exists"):
            save_model(_model(), tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "minilm", "notes.txt"]


def test_an_empty_folder_and_a_relative_path_are_filled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "minilm").mkdir()
    assert save_model(_model(), "minilm") == tmp_path / "minilm"
    assert load_model("minilm").dim == DIM
