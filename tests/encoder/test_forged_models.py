"""Forged model folders, of tokenizers of every kind: refused by the name of the file, and at once."""

import json
import os
import socket

import numpy as np
import pretokenizers
import pytest
import tiny_tokenizers
from safetensors.numpy import load_file, save_file

from encoder import Encoder
from encoder.errors import InputError, ModelFormatError
from encoder.model import StaticModel, load_model, save_model
from encoder.tokenizer.tables import TABLES_FILE

WORDPIECE = ("only trained", "added as they stand")
OTHERS = ("added symbols", "BERT in parts", "Unigram", "byte-level BPE", "BPE with Metaspace", "WordLevel")
KINDS = [*WORDPIECE, *OTHERS, *pretokenizers.PIECES, "another pattern", "dropout"]
FILES = ["model.safetensors", "tokenizer.json", "config.json"]
TEXTS = ["card declined [MASK] <s>", "ab é 中文", "", "[x] [x]"]


def _named(name):
    return (tiny_tokenizers if name in (*WORDPIECE, *OTHERS) else pretokenizers).named(name)


def _folder(name, path):
    tokenizer = _named(name)
    n_tokens = max(tokenizer.get_vocab().values()) + 1
    table = tiny_tokenizers.visible_table(n_tokens).astype(np.float32)
    return save_model(StaticModel(table, tokenizer.to_str(), {"normalize": True}), path), n_tokens


@pytest.fixture
def folder(tmp_path):
    return _folder("only trained", tmp_path / "model")[0]


def _spec(folder, change, *, compiled=False):
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_text())
    change(spec)
    path.write_text(json.dumps(spec))
    if not compiled:
        (folder / TABLES_FILE).unlink()


def _added(token_id, content="[x]"):
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": token_id, "content": content, **flags}


@pytest.mark.parametrize("token_id", [1 << 20, (1 << 32) - 1])
@pytest.mark.parametrize("name", KINDS)
def test_ids_of_added_tokens_are_those_that_tokenizers_gives(name, token_id, tmp_path):
    """`tokenizers` ignores the numbers in the file; so an absurd one must not become a place in memory."""
    folder, n_tokens = _folder(name, tmp_path / "model")
    _spec(folder, lambda spec: spec["added_tokens"].append(_added(token_id)))
    with pytest.raises(
        ModelFormatError, match=rf"{folder}.* has {n_tokens} vectors for {n_tokens + 1} tokens"
    ):
        load_model(folder)
    tensors = load_file(folder / "model.safetensors")
    row = np.full((1, 8), 100, np.float32)
    save_file({"embeddings": np.vstack([tensors["embeddings"], row])}, folder / "model.safetensors")
    encoder = Encoder.load(folder)
    assert n_tokens in encoder.tokenise("[x]").ids
    assert np.isfinite(encoder.encode(TEXTS)).all()


@pytest.mark.parametrize("top", [1 << 20, (1 << 31) - 1, (1 << 32) - 1, 1 << 40, -1, 1.5, "a", None])
@pytest.mark.parametrize("name", ["only trained", "byte-level BPE", "WordLevel", "Llama 2", "BERT in parts"])
def test_ids_of_the_vocabulary_beyond_the_table_are_refused(name, top, tmp_path):
    folder, _ = _folder(name, tmp_path / "model")
    _spec(folder, lambda spec: spec["model"]["vocab"].update(new=top))
    with pytest.raises(ModelFormatError, match=str(folder)):
        Encoder.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update(mapping=t["mapping"] + len(t["mapping"])),
        lambda t: t.update(mapping=-t["mapping"] - 1),
        lambda t: t.update(mapping=t["mapping"][:-1]),
        lambda t: t.update(weights=t["weights"][:-1]),
        lambda t: t["weights"].__setitem__(3, np.nan),
        lambda t: t["weights"].__setitem__(3, 1e30),
        lambda t: (t["embeddings"].__setitem__(t["mapping"][3], 0), t["weights"].__setitem__(3, 1e300)),
        lambda t: t.update(weights=np.full(len(t["weights"]), -(1 << 63))),
        lambda t: t.update(mapping=np.zeros(1 << 20, np.int64)),
        lambda t: t.update(embeddings=np.zeros((1 << 20, 1), np.int8)),
        lambda t: t.update(embeddings=np.zeros((len(t["embeddings"]), (1 << 14) + 1), np.int8)),
    ],
)
@pytest.mark.parametrize("name", ["Unigram", "GPT-2", "WordLevel"])
def test_weights_and_mapping_that_lead_astray_are_refused(name, change, tmp_path):
    folder, n_tokens = _folder(name, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors |= {"weights": np.ones(n_tokens), "mapping": np.arange(n_tokens)}
    save_file(tensors, folder / "model.safetensors")
    assert Encoder.load(folder).encode("card").any()
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelFormatError, match=str(folder / "model.safetensors")):
        load_model(folder)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


STRANGE = {
    "a FIFO": os.mkfifo,
    "a folder": os.mkdir,
    "a socket": _socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link out of the model folder": lambda path: path.symlink_to(path.parent.parent / "outside"),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_of_the_folder_is_refused_by_its_name(name, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # addresses of sockets are short
    folder = _folder("WordLevel", tmp_path / "m")[0]
    (tmp_path / "outside").write_bytes((folder / name).read_bytes())
    (folder / name).unlink()
    STRANGE[kind](folder.relative_to(tmp_path) / name if kind == "a socket" else folder / name)
    with pytest.raises(ModelFormatError, match=f"{folder / name} is {kind}"):
        load_model(folder)


@pytest.mark.parametrize("kind", STRANGE)
def test_compiled_tables_that_are_no_file_are_compiled_again(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = _folder("only trained", tmp_path / "m")[0]
    expected = Encoder.load(folder).encode(TEXTS)
    (folder / TABLES_FILE).rename(tmp_path / "outside")
    STRANGE[kind](folder.relative_to(tmp_path) / TABLES_FILE if kind == "a socket" else folder / TABLES_FILE)
    np.testing.assert_array_equal(Encoder.load(folder).encode(TEXTS), expected)


def test_links_within_the_folder_and_into_the_hugging_face_cache_are_followed(tmp_path):
    hub = tmp_path / "models--a--b"
    folder = _folder("WordLevel", hub / "snapshots/1234")[0]
    (hub / "blobs").mkdir()
    for name in FILES:
        (folder / name).rename(hub / "blobs" / name)
        (folder / name).symlink_to(f"../../blobs/{name}")
    (folder / "tokenizer.json").rename(folder / "another.json")
    (folder / "tokenizer.json").symlink_to("another.json")
    assert Encoder.load(folder).encode("card").any()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, '{"model":' * 100_000, "1" * 10_000, "\x00"]
)
@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "modules.json"])
def test_json_that_is_nested_or_no_json_is_refused(name, text, folder):
    if name == "modules.json":
        (folder / "config.json").rename(folder / "config_sentence_transformers.json")
    (folder / name).write_text(text)
    with pytest.raises(ModelFormatError, match=str(folder)) as caught:
        load_model(folder)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
def test_files_larger_than_any_real_one_are_refused_unread(name, folder):
    with (folder / name).open("r+b") as file:
        file.truncate(1 << 36)
    with pytest.raises(ModelFormatError, match=rf"{folder / name} is larger than [\d,]+ bytes"):
        load_model(folder)


def _rule(part, times=1):
    inner = {"type": "Sequence", "normalizers": [part] * times}
    return lambda spec: spec.update(normalizer=inner)


def _splitter(part, times=1):
    inner = {"type": "Sequence", "pretokenizers": [part] * times}
    return lambda spec: spec.update(pre_tokenizer=inner)


TWICE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
BOMBS = {
    "a text doubled 40 times": _rule(TWICE, 40),
    "a text of bytes of bytes": _splitter(BYTES, 40),
    "a megabyte for each letter": _rule({**TWICE, "content": "a" * (1 << 20)}),
    "a megabyte before each letter": _rule({**TWICE, "pattern": {"String": ""}, "content": "a" * (1 << 20)}),
    "ten thousand rules": _rule({"type": "NFC"}, 10_000),
    "a normaliser of 4 GB": _rule({"type": "Precompiled", "precompiled_charsmap": "/////w=="}),
    "a word of any length": lambda spec: spec["model"].update(max_input_chars_per_word=1 << 40),
    "a token of a megabyte": lambda spec: spec["added_tokens"].append(_added(0, "a" * (1 << 20))),
}


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("bomb", BOMBS)
def test_rules_that_would_exhaust_memory_or_time_are_refused(bomb, compiled, folder):
    _spec(folder, BOMBS[bomb], compiled=compiled)
    with pytest.raises(ModelFormatError, match=rf"{folder}.*tokenizer\.json"):
        load_model(folder)


def test_a_tokenizer_that_panics_with_a_text_is_an_error_of_ours(folder, capfd):
    tower = {"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated", "invert": False}
    _spec(folder, _splitter(tower))
    encoder = Encoder.load(folder)
    assert encoder.encode("card").any()
    with pytest.raises(InputError, match=r"the tokenizer fails with a text: .*retry-limit") as caught:
        encoder.encode("a" * 40)
    assert not isinstance(caught.value, ModelFormatError)  # another text may do
    capfd.readouterr()


def test_a_tokenizer_that_panics_when_it_is_loaded_is_a_damaged_model(folder, monkeypatch):
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})

    def broken(_):
        raise panic("index out of bounds")

    monkeypatch.setattr(
        "encoder.tokenizer.tables.Tokenizer", type("T", (), {"from_str": staticmethod(broken)})
    )
    (folder / TABLES_FILE).unlink()
    with pytest.raises(ModelFormatError, match=f"{folder}.*index out of bounds"):
        load_model(folder)
