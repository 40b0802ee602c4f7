"""The compiled tokenizer's file is used if it matches, ignored otherwise, and never trusted."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pretokenizers
import pytest
import tiny_tokenizers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from encoder import Encoder
from encoder.arrays.mmap_arrays import map_tensors
from encoder.errors import ModelFormatError
from encoder.model import StaticModel, load_model, save_model
from encoder.store.store import ModelStore
from encoder.tokenizer import tables as tables_module
from encoder.tokenizer.tables import (
    FORMAT,
    TABLES_FILE,
    compile_tokenizer,
    pack_tables,
    read_tables,
)

TEXT = tiny_tokenizers.named("uncased").to_str()
OTHER = tiny_tokenizers.named("cased").to_str()
ALL = [*tiny_tokenizers.KERNEL, *tiny_tokenizers.LIBRARY]


def _written(path, text=TEXT):
    path.write_bytes(pack_tables(compile_tokenizer(text), text))
    return path


@pytest.fixture
def file(tmp_path):
    return _written(tmp_path / TABLES_FILE)


def _model(text=TEXT):
    n_tokens = len(Tokenizer.from_str(text).get_vocab())
    return StaticModel(tiny_tokenizers.visible_table(n_tokens), text, {"normalize": False})


@pytest.mark.parametrize("name", ALL)
def test_packed_tables_are_read_bit_by_bit(name, tmp_path):
    text = tiny_tokenizers.named(name).to_str()
    made, read = compile_tokenizer(text), read_tables(_written(tmp_path / TABLES_FILE, text), text)
    assert (read.n_tokens, read.median_token_length) == (made.n_tokens, made.median_token_length)
    assert set(read.arrays) == set(made.arrays)
    assert bool(made.arrays) == (name in tiny_tokenizers.KERNEL)
    for key, array in made.arrays.items():
        np.testing.assert_array_equal(read.arrays[key], array)
        assert read.arrays[key].dtype == array.dtype
        assert read.arrays[key].flags.aligned


def test_the_same_tokenizer_gives_the_same_bytes(file):
    read = read_tables(file, TEXT)
    assert pack_tables(compile_tokenizer(TEXT), TEXT) == pack_tables(read, TEXT) == file.read_bytes()


def test_a_hash_table_begins_at_a_cache_line(file):
    arrays = read_tables(file, TEXT).arrays
    assert arrays["short"].ctypes.data % 64 == arrays["long"].ctypes.data % 64 == 0


def test_a_file_of_another_tokenizer_is_not_used(file):
    assert read_tables(file, OTHER) is None


def test_a_file_of_another_format_is_not_used(file, monkeypatch):
    monkeypatch.setattr(tables_module, "FORMAT", FORMAT + 1)
    assert read_tables(file, TEXT) is None


def test_no_file_is_no_tables(tmp_path):
    assert read_tables(tmp_path / TABLES_FILE, TEXT) is None
    (tmp_path / TABLES_FILE).mkdir()
    assert read_tables(tmp_path / TABLES_FILE, TEXT) is None


@pytest.mark.slow
@given(data=st.data())
def test_a_damaged_file_is_not_used(data, tmp_path_factory):
    path = _written(tmp_path_factory.mktemp("damaged") / TABLES_FILE)
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, 900))
    if data.draw(st.booleans()):
        whole[at] ^= data.draw(st.integers(1, 255))
    else:
        del whole[at:]
    path.write_bytes(whole)
    found = read_tables(path, TEXT)
    # Bytes that mean nothing, blanks in the header for one, may change.
    assert found is None or pack_tables(found, TEXT) == pack_tables(compile_tokenizer(TEXT), TEXT)


def _forge(path, change):
    """Change arrays or facts and the checksums with them, as an attacker would."""
    tables = compile_tokenizer(TEXT)
    arrays = {name: array.copy() for name, array in tables.arrays.items()}
    facts = {}
    change(arrays, facts)
    path.write_bytes(pack_tables(replace(tables, arrays=arrays, **facts), TEXT))


def _forge_file(path, change):
    """Change what the file holds in their place: tensors and facts as they are stored."""
    tensors, metadata = load_file(path), map_tensors(path)[1]
    facts = json.loads(metadata["millstream"])
    del facts["sha256"]
    change(tensors, facts)
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    facts["sha256"] = tables_module._digest(tensors, facts)
    path.write_bytes(save(tensors, {"millstream": json.dumps(facts, sort_keys=True)}))


def _put(name, at, value):
    def change(tensors, _):
        tensors[name][at] = value

    return change


def _in_slot(name, at, value):
    """Change a number of the first slot that is taken."""
    size = {"short": 4, "long": 8}[name]

    def change(arrays, _):
        slots = arrays[name].reshape(-1, size)
        slots[np.flatnonzero(slots[:, 0])[0], at] = value

    return change


FORGED = {
    "a base behind the array": _put("cells", (0, 0), 1 << 30),
    "a base below zero": _put("cells", (1, 0), -1),
    "a token behind the table": _put("cells", (5, 2), 1 << 20),
    "a token below zero": _put("cells", (5, 2), -2),
    "cells of another type": lambda t, _: t.update(cells=t["cells"].astype(np.int64)),
    "cells of two columns": lambda t, _: t.update(cells=t["cells"][:, :2]),
    "few cells": lambda t, _: t.update(cells=t["cells"][:200] * 0),
    "no cells": lambda t, _: t.pop("cells"),
    "an array too many": lambda t, _: t.update(more=np.ones(3)),
    "a word's token behind the table": _in_slot("short", 2, 1 | (1 << 20) << 4),
    "a word of two tokens": _in_slot("short", 2, 2),
    "a word whose ids are elsewhere": _in_slot("short", 2, 13),
    "a second number of tokens": _in_slot("short", 3, 16),
    "a long word's token behind the table": _in_slot("long", 4, 1 | (1 << 20) << 4),
    "a long word of two tokens": _in_slot("long", 4, 2),
    "words of another type": lambda a, _: a.update(short=a["short"].astype(np.int64)),
    "words in rows": lambda a, _: a.update(short=a["short"].reshape(-1, 4)),
    "half a slot": lambda a, _: a.update(short=a["short"][:-2]),
    "slots that are no power of two": lambda a, _: a.update(short=a["short"][: -4 * 1000]),
    "no free slot": lambda a, _: a.update(long=np.full(32, 1, np.uint64)),
    "words that are not counted": _put("used", 0, 0),
    "counts of another type": lambda a, _: a.update(used=a["used"].astype(np.int32)),
    "counts of one table": lambda a, _: a.update(used=a["used"][:1]),
    "fewer tokens": lambda _, f: f.update(n_tokens=3),
    "a length of tokens below zero": lambda _, f: f.update(median_token_length=-1),
}
FORGED_FILE = {
    "no slots": lambda t, f: (t.update(long=t["long"][:0]), t.pop("long.rows"), f["lengths"].pop("long")),
    "more slots than memory": lambda _, f: f["lengths"].update(short=1 << 60),
    "fewer slots than words": lambda _, f: f["lengths"].update(short=8),
    "a length below zero": lambda _, f: f["lengths"].update(short=-1),
    "a length that is no number": lambda _, f: f["lengths"].update(short="many"),
    "a place behind the table": _put("short.rows", -1, 1 << 30),
    "a place below zero": _put("short.rows", 0, -1),
    "places of floats": lambda t, _: t.update({"short.rows": t["short.rows"].astype(float)}),
    "places missing": lambda t, _: t.pop("short.rows"),
    "places without numbers": lambda t, _: t.update(short=t["short"][:3]),
    "no number of tokens": lambda _, f: f.pop("n_tokens"),
    "facts that are a list": lambda _, f: f.update(lengths=[]),
    "facts that are a number": lambda _, f: f.update(lengths=7),
}


def test_a_file_forged_without_a_change_is_used(file):
    before = file.read_bytes()
    for forge in (_forge, _forge_file):
        forge(file, lambda *_: None)
        assert file.read_bytes() == before
        assert read_tables(file, TEXT) is not None


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_file_leads_no_kernel_astray(name, file):
    _forge(file, FORGED[name])
    assert read_tables(file, TEXT) is None


@pytest.mark.parametrize("name", FORGED_FILE)
def test_a_file_forged_in_its_parts_leads_no_kernel_astray(name, file):
    _forge_file(file, FORGED_FILE[name])
    assert read_tables(file, TEXT) is None


@pytest.mark.parametrize("name", [*tiny_tokenizers.LIBRARY, *pretokenizers.PIECES, "uncased"])
def test_tokens_that_only_the_forged_file_denies_are_refused(name, tmp_path):
    named = pretokenizers.named if name in pretokenizers.PIECES else tiny_tokenizers.named
    text = named(name).to_str()
    folder = save_model(_model(text), tmp_path / "model")
    tables = compile_tokenizer(text)
    (folder / TABLES_FILE).write_bytes(pack_tables(replace(tables, n_tokens=7, arrays={}), text))
    table = {"embeddings": np.zeros((7, 8), np.float32)}
    save_file(table, folder / "model.safetensors")
    with pytest.raises(ModelFormatError, match=rf"{folder}.* has 7 vectors for {tables.n_tokens} tokens"):
        load_model(folder)


@pytest.fixture
def count_compilations(monkeypatch):
    """Counts how often a vocabulary is compiled."""
    done = []
    compiled = tables_module.compile_vocabulary
    monkeypatch.setattr(tables_module, "compile_vocabulary", lambda spec: done.append(1) or compiled(spec))
    return done


def test_a_saved_model_loads_without_compiling_and_gives_the_same_vectors(tmp_path, count_compilations):
    folder = save_model(_model(), tmp_path / "model")
    count_compilations.clear()
    lines = [*tiny_tokenizers.SAMPLE, "zqxj [MASK] ☃"]
    found = Encoder.load(folder).encode(lines)
    assert count_compilations == []
    (folder / TABLES_FILE).unlink()
    np.testing.assert_array_equal(Encoder.load(folder).encode(lines), found)
    assert count_compilations == [1]


def test_a_tokenizer_changed_after_the_file_gives_its_own_ids(tmp_path):
    folder = save_model(_model(), tmp_path / "model")
    (folder / "tokenizer.json").write_text(OTHER, encoding="utf-8")
    other = save_model(_model(OTHER), tmp_path / "other")
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    lines = [*tiny_tokenizers.SAMPLE, "Card CARD"]
    np.testing.assert_array_equal(Encoder.load(folder).encode(lines), Encoder(_model(OTHER)).encode(lines))


def test_a_folder_that_may_not_be_written_is_loaded(tmp_path):
    folder = save_model(_model(), tmp_path / "model")
    (folder / TABLES_FILE).unlink()
    (folder / TABLES_FILE).symlink_to("/proc/self/mem")
    assert Encoder.load(folder).encode("card").any()


@pytest.mark.parametrize("damage", ["none", "missing", "stale", "cut off"])
def test_every_published_version_has_the_file_and_the_same_digest(damage, tmp_path):
    folder = save_model(_model(), tmp_path / "model")
    store = ModelStore.open(str(tmp_path / "store" / "minilm"))
    first = store.publish(folder)
    if damage == "missing":
        (folder / TABLES_FILE).unlink()
    elif damage == "stale":
        _written(folder / TABLES_FILE, OTHER)
    elif damage == "cut off":
        (folder / TABLES_FILE).write_bytes((folder / TABLES_FILE).read_bytes()[:-1])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    second = store.publish(folder)
    assert second.digest == first.digest
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before  # the folder is not ours
    pulled = store.fetch(second, tmp_path / "pulled")
    assert read_tables(pulled / TABLES_FILE, TEXT) is not None
    assert store.publish(pulled).digest == first.digest
    np.testing.assert_array_equal(Encoder.load(pulled).encode("card"), Encoder(_model()).encode("card"))


def test_a_folder_of_sentence_transformers_is_published_with_the_file(tmp_path):
    folder = save_model(_model(), tmp_path / "model")
    (folder / "0_StaticEmbedding").mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).rename(folder / "0_StaticEmbedding" / name)
    (folder / "config.json").rename(folder / "config_sentence_transformers.json")
    (folder / TABLES_FILE).unlink()
    store = ModelStore.open(str(tmp_path / "store" / "minilm"))
    assert TABLES_FILE in {file.path for file in store.publish(folder).files}
    assert load_model(store.fetch(store.manifest(), tmp_path / "pulled")).tables.arrays


def test_the_layout_has_the_number_that_it_had():
    """A file that was written yesterday is read today: another layout needs another FORMAT."""
    tokenizer = Tokenizer(
        models.WordPiece(
            {"[UNK]": 0, "card": 1, "##s": 2, "é": 3, "!": 4, "c": 5, "##a": 6}, unk_token="[UNK]"
        )
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    arrays = compile_tokenizer(tokenizer.to_str()).arrays
    layout = hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest()
    assert (FORMAT, layout[:16]) == (1, "6b740cbaeeeab490"), (
        "raise FORMAT, then write the layout's new digest here"
    )
