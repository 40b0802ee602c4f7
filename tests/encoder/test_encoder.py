"""Vectors equal model2vec's for texts of any type."""

import dataclasses
import functools
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import model2vec
import numpy as np
import pyarrow as pa
import pytest
import tiny_tokenizers
from amounts import amount
from hypothesis import given
from hypothesis import strategies as st
from unicode_texts import many, mutate, texts

from encoder import Encoder
from encoder.errors import ConfigurationError, InputError, ModelFormatError
from encoder.kernels.pool import pool_texts
from encoder.kernels.wordpiece.tokenise import tokenise
from encoder.model import StaticModel, save_model

DIM = 24
TOLERANCE = {
    "float32": 1e-5,
    "int8": 1e-5,
    "float16": 2e-3,
    "weights and mapping": 1e-5,
    "int8 with scales": 1e-5,
}


@functools.cache
def _model(name="uncased", kind="float32", normalize=True, max_length=512):
    """A static model with random vectors of a kind."""
    n_tokens = len(tiny_tokenizers.named(name).get_vocab())
    random = np.random.default_rng(n_tokens)
    config = {"normalize": normalize, "max_length": max_length}
    text = tiny_tokenizers.named(name).to_str()
    table = random.normal(size=(n_tokens, DIM)).astype(np.float32)
    if kind == "int8":
        return StaticModel(random.integers(-127, 128, (n_tokens, DIM), np.int8), text, config)
    if kind == "int8 with scales":
        rows, scales = random.integers(-127, 128, (n_tokens, DIM), np.int8), random.integers(1, 256, n_tokens)
        return StaticModel(rows, text, config, scales.astype(np.float32))
    if kind == "weights and mapping":
        mapping = random.integers(0, 50, n_tokens)
        return StaticModel(table[:50], text, config, random.random(n_tokens).astype(np.float32), mapping)
    return StaticModel(table.astype(kind), text, config)


@functools.cache
def _encoder(*args):
    """The encoder of `_model`, which keeps the characters that it has learnt."""
    return Encoder(_model(*args))


@functools.cache
def _reference(*args):
    """The same in model2vec."""
    model = _model(*args)
    return model2vec.StaticModel(
        np.asarray(model.table),
        tiny_tokenizers.named(args[0] if args else "uncased"),
        normalize=model.normalize,
        weights=model.weights,
        token_mapping=model.mapping,
        max_length=model.max_length,
    )


@pytest.fixture(scope="module")
def encoder():
    return _encoder()


@pytest.fixture(scope="module")
def lines():
    """Lines of logs and of all kinds of Unicode."""
    random = np.random.default_rng(3)
    sample = tiny_tokenizers.SAMPLE
    return [*sample, "", " ", *many(200, random), *mutate(sample * 8, random), "card " * 700, "☃"]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", TOLERANCE)
def test_vectors_are_model2vecs(kind, normalize, lines):
    which = ("uncased", kind, normalize)
    scale = 1 if normalize else max(1.0, float(np.abs(_model(*which).table).max()))
    found = _encoder(*which).encode(lines)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, _reference(*which).encode(lines), atol=TOLERANCE[kind] * scale)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TOLERANCE)
def test_vectors_of_log_lines_are_model2vecs(kind, loghub_lines):
    lines = loghub_lines if kind == "float32" else loghub_lines[::8]
    found = _encoder("uncased", kind).encode(lines)
    np.testing.assert_allclose(found, _reference("uncased", kind).encode(lines), atol=TOLERANCE[kind])


@pytest.mark.parametrize("name", [*tiny_tokenizers.KERNEL, *tiny_tokenizers.LIBRARY])
def test_vectors_are_model2vecs_with_every_tokenizer(name, lines, naughty_strings):
    both = [*lines[::4], *naughty_strings[::4]]
    np.testing.assert_allclose(_encoder(name).encode(both), _reference(name).encode(both), atol=1e-5)


@given(
    lines=st.lists(texts, min_size=1, max_size=8),
    limit=st.sampled_from([512, 8, 1, None]),
    kind=st.sampled_from(["float32", "int8"]),
)
def test_vectors_of_any_unicode_text_are_model2vecs(lines, limit, kind):
    which = ("uncased", kind, True, limit)
    np.testing.assert_allclose(_encoder(*which).encode(lines), _reference(*which).encode(lines), atol=1e-5)


def test_vectors_have_length_1_or_are_zeros(encoder, lines):
    lengths = np.linalg.norm(encoder.encode(lines), axis=1)
    assert ((np.abs(lengths - 1) < 1e-5) | (lengths == 0)).all()


def test_null_empty_and_unknown_texts_are_zeros(encoder):
    vectors = encoder.encode([None, "", " \t\n", "\u200b", "\0", "☃" * 120, "card"])
    assert not vectors[:-1].any()
    assert vectors[-1].any()


def test_a_null_gives_zeros_even_if_it_has_bytes(encoder):
    offsets = pa.py_buffer(np.array([0, 4, 8, 12], np.int32))
    buffers = [pa.py_buffer(b"\x05"), offsets, pa.py_buffer(b"cardcardcard")]
    vectors = encoder.encode(pa.Array.from_buffers(pa.string(), 3, buffers))
    card = encoder.encode("card")
    np.testing.assert_array_equal(vectors, [card, np.zeros(DIM), card])


def test_one_text_gives_one_vector(encoder):
    assert encoder.encode("card").shape == (DIM,)
    np.testing.assert_array_equal(encoder.encode("card"), encoder.encode(["card"])[0])


@pytest.mark.parametrize(
    "nothing", [[], (), iter(()), pa.array([], pa.string()), pa.chunked_array([], pa.string())]
)
@pytest.mark.parametrize("name", ["uncased", "Unigram"])
def test_no_texts_give_no_vectors(name, nothing):
    vectors = _encoder(name).encode(nothing)
    assert vectors.shape == (0, DIM)
    assert vectors.dtype == np.float32


@pytest.mark.parametrize("name", ["uncased", "Unigram"])
def test_the_same_texts_give_the_same_bits_in_every_kind(name, lines):
    encoder = _encoder(name)
    values = [*lines[:200], None]
    expected = encoder.encode(values)
    array = pa.array(values)
    for same in (
        tuple(values),
        (value for value in values),
        np.array(values, object),
        pa.array(values, pa.large_string()),
        pa.array(values, pa.string_view()),
        array.dictionary_encode(),
        pa.chunked_array([array[:7], array[7:7], array[7:]]),
        pa.array(["x", None, *values, "y"])[2:-1],
    ):
        np.testing.assert_array_equal(encoder.encode(same), expected)
    assert not encoder.encode(pa.nulls(3)).any()


@pytest.mark.parametrize("kind", ["float32", "int8", "int8 with scales"])
def test_the_kernels_are_compiled_once_for_texts_and_tables_of_any_origin(kind, tmp_path):
    texts = pa.table({"text": ["card", None, "é"]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, texts.schema) as writer:
        writer.write_table(texts)
    received = pa.ipc.open_stream(sink.getvalue()).read_all()["text"]
    model = _model("uncased", kind)
    for encoder in (Encoder(model), Encoder.load(save_model(model, tmp_path / "model"))):
        for same in (["card", None, "é"], texts["text"], received, pa.nulls(2), [""]):
            encoder.encode(same)
    assert len(tokenise.signatures) == 1
    pooled = [
        (str(s[2].dtype), str(s[3]), str(s[6].dtype)) for s in pool_texts.signatures if not s[2].mutable
    ]
    weights = "readonly array(uint8, 1d, C)" if "scales" in kind else "none"
    assert pooled.count((kind.split()[0], weights, "float32")) == 1


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_the_same_text_gives_the_same_bits_in_any_batch_order_and_thread(kind, lines):
    model = _model(kind=kind)
    values = (lines * 20)[:9000]  # more than two blocks
    expected = Encoder(model, threads=1).encode(values)
    order = np.random.default_rng(0).permutation(len(values))
    np.testing.assert_array_equal(
        Encoder(model, threads=1).encode([values[k] for k in order]), expected[order]
    )
    for threads in (1, 7):
        np.testing.assert_array_equal(Encoder(model, threads=threads).encode(values), expected)
    encoder = _encoder("uncased", kind)
    for size in (1, 3, 64, 1023, 4097):
        some = values[:size]
        np.testing.assert_array_equal(encoder.encode(some), expected[:size])
    for k in range(0, 400, 7):
        np.testing.assert_array_equal(encoder.encode(values[k]), expected[k])


@pytest.mark.parametrize("max_length", [512, None])
@pytest.mark.parametrize("part", ["card declined. ", "x", "é", "\u0301", " ", "\u302e", "[MASK]" + " " * 50])
def test_texts_of_10_megabytes_are_encoded(part, max_length):
    which = ("uncased", "float32", True, max_length)
    by_library = max_length is None and part[0] in "[\u302e"  # a minute's work for a few seconds' test
    big = part * ((1_000_000 if by_library else 10_000_000) // len(part.encode()))
    found = _encoder(*which).encode(["card", big, "card"])
    if max_length:
        np.testing.assert_allclose(found, _reference(*which).encode(["card", big, "card"]), atol=1e-5)
    else:
        # A part repeated has the part's mean; one word of so many characters is unknown, marks are nothing.
        small = "" if part in ("x", "é", "\u302e") else part
        # float32 sums of millions of rows, as model2vec's are: some digits are lost.
        np.testing.assert_allclose(found[1], _encoder(*which).encode(small), atol=0.02)
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize(
    "wrong",
    [[1], [b"bytes"], 5, None, pa.array([1]), ["\ud800"]],
    ids=["numbers", "bytes", "a number", "None", "Arrow integers", "a lone surrogate"],
)
def test_other_types_than_text_are_an_input_error(encoder, wrong):
    with pytest.raises(InputError):
        encoder.encode(wrong)


BROKEN = [b"\xff", b"\xc3", b"a\xe4\xb8", b"\xf0\x9f\x98", b"\xf8\x88\x80\x80\x80", b"\xc0\x80", b"\x80card"]
BROKEN += [
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    b"caf\xe9 au lait",
    b"\xc3(",
]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("name", ["uncased", "Unigram"])
def test_bytes_that_are_no_utf8_are_an_input_error(name, broken):
    # A buffer of its own length: what lies behind it is not ours.
    array = pa.array([broken]).view(pa.string())
    with pytest.raises(InputError, match=r"UTF-8.*errors='replace'"):
        _encoder(name).encode(array)
    array = pa.array([b"card" * 20, broken, b"\xa9 card" * 20]).view(pa.string())[:2]
    with pytest.raises(InputError, match=r"UTF-8.*errors='replace'"):
        _encoder(name).encode(array)


def test_text_that_no_limit_reaches_may_be_broken(encoder):
    array = pa.array([b"card " * 5000 + b"\xff"]).view(pa.string())
    np.testing.assert_array_equal(encoder.encode(array)[0], encoder.encode("card " * 5000))


def test_four_threads_learn_new_scripts_at_once():
    pages = [0x04, 0x05, 0x09, 0x0E, 0x10, 0x11, 0x1E, 0x21, 0x30, 0x31, 0x4E, 0xAC, 0xFB, 0xFF, 0x1D4, 0x2F8]
    lines = [
        f"card {chr(256 * page + k)} a{chr(256 * page + k + 1)}b gate"
        for k in range(0, 250, 5)
        for page in pages
    ]
    model = _model()
    expected = _reference().encode(lines)
    for turn in range(3):
        encoder = Encoder(model, threads=1 + turn % 2)
        orders = [np.random.default_rng(turn * 4 + k).permutation(len(lines)) for k in range(4)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda order: encoder.encode([lines[k] for k in order]), orders))  # noqa: B023
        for order, vectors in zip(orders, found, strict=True):
            np.testing.assert_allclose(vectors, expected[order], atol=1e-5)


def test_the_interpreter_runs_on_while_texts_are_encoded():
    encoder = Encoder(_model(), threads=1)
    array = pa.array(["card declined at the gate of the airport " * 40] * 3000)
    with ThreadPoolExecutor(1) as pool:
        future, ticks = pool.submit(encoder.encode, array), 0
        while not future.done():
            ticks += 1
    assert ticks > 1000


def test_a_folder_is_loaded_by_its_path(tmp_path, lines):
    folder = save_model(_model("uncased", "int8"), tmp_path / "model")
    for ref in (folder, str(folder)):
        encoder = Encoder.load(ref, threads=2)
        assert encoder.dim == DIM
        assert encoder.manifest is None
        np.testing.assert_array_equal(encoder.encode(lines), _encoder("uncased", "int8").encode(lines))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ModelFormatError, match=r"no model folder at .*missing"):
        Encoder.load(tmp_path / "missing")


def test_settings_without_a_limit_mean_model2vecs_default():
    model = dataclasses.replace(_model(), config={"normalize": True})
    text = "card " * 600 + "gate " * 600
    expected = _encoder().encode(text)
    np.testing.assert_array_equal(Encoder(model).encode(text), expected)


HEAVY = (
    "torch",
    "transformers",
    "apache_beam",
    "confluent_kafka",
    "typer",
    "sklearn",
    "pipelines",
    "distill",
)


def test_importing_the_encoder_loads_nothing_heavy():
    program = textwrap.dedent(f"""
        import sys
        import encoder
        import encoder.store.store
        print(*[name for name in {HEAVY!r} if name in sys.modules])
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_vectors_are_written_where_they_are_wanted(encoder):
    texts = ["one text", None, "another"]
    room = np.full((5, encoder.dim), 7, np.float32)
    found = encoder.encode(texts, out=room)
    assert np.shares_memory(found, room)
    assert found.shape == (3, encoder.dim)
    np.testing.assert_array_equal(found, encoder.encode(texts))
    assert (room[3:] == 7).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda room: room[:2],
        lambda room: room[:, 1:],
        lambda room: room.astype(np.float64),
        np.asfortranarray,
        lambda room: room[0],
    ],
    ids=["too few rows", "too few columns", "float64", "Fortran order", "one dimension"],
)
def test_room_that_does_not_fit_is_refused(encoder, change):
    with pytest.raises(InputError, match="out is float"):
        encoder.encode(["a", "b", "c"], out=change(np.zeros((3, encoder.dim), np.float32)))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("dims", [None, 1, 5, 8])
def test_every_output_says_the_same(kind, dims, normalize, lines):
    model = _model(kind=kind, normalize=normalize)
    encoder, texts = Encoder(model), [*lines[:50], "", None, "\ue000é"]
    whole = encoder.encode(texts).astype(np.float64)[:, :dims]
    lengths = np.linalg.norm(whole, axis=1, keepdims=True)
    expected = np.divide(whole, lengths, out=np.zeros_like(whole), where=lengths > 0) if normalize else whole
    vectors = encoder.encode(texts, dims=dims)
    np.testing.assert_allclose(vectors, expected, atol=1e-6 if normalize else 1e-4)
    np.testing.assert_array_equal(
        encoder.encode(texts, dims=dims, dtype="float16"), vectors.astype(np.float16)
    )
    bits = encoder.encode(texts, dims=dims, dtype="binary")
    np.testing.assert_array_equal(bits, np.packbits(vectors > 0, axis=1))
    integers = encoder.encode(texts, dims=dims, dtype="int8")
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    assert integers.dtype == np.int8
    np.testing.assert_allclose(integers * (largest / 127), vectors, atol=0.51 * largest.max() / 127)


def test_one_text_has_no_first_axis_in_any_output():
    encoder = Encoder(_model())
    for dtype, shape in (("float32", (5,)), ("float16", (5,)), ("int8", (5,)), ("binary", (1,))):
        assert encoder.encode("card", dims=5, dtype=dtype).shape == shape


@pytest.mark.parametrize(
    ("choice", "reason"),
    [({"dims": 0}, "dims is 0: the model has 24"), ({"dims": 25}, "25"), ({"dtype": "float64"}, "float64")],
)
def test_outputs_that_there_are_not(choice, reason):
    with pytest.raises(ConfigurationError, match=reason):
        Encoder(_model()).encode(["card"], **choice)


def test_offsets_beyond_32_bits_are_read(encoder):
    gap = (1 << 31) + 10  # bytes of which the system hands out only the pages that are touched
    data = np.zeros(gap + 200, np.uint8)
    data[:4], data[gap : gap + 10] = list(b"card"), list("gateé  ok".encode())
    offsets = np.array([0, 4, gap, gap + 4, gap + 10], np.int64)
    buffers = [pa.py_buffer(b"\x1d"), pa.py_buffer(offsets), pa.py_buffer(data)]
    array = pa.Array.from_buffers(pa.large_string(), 4, buffers)
    expected = encoder.encode(["card", None, "gate", "é  ok"])
    np.testing.assert_array_equal(encoder.encode(array), expected)
    np.testing.assert_array_equal(encoder.encode(array[2:]), expected[2:])
    assert encoder.tokenise(array[1:]).offsets[1] == 0


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "binary"])
def test_every_output_has_the_same_bits_in_any_batch_and_thread(dtype, lines):
    values = (lines * 20)[:5000]
    expected = Encoder(_model(), threads=1).encode(values, dtype=dtype)
    np.testing.assert_array_equal(Encoder(_model(), threads=3).encode(values, dtype=dtype), expected)
    for first in range(0, 700, 97):
        some = values[first : first + 97]
        np.testing.assert_array_equal(_encoder().encode(some, dtype=dtype), expected[first : first + 97])


@pytest.mark.slow
@pytest.mark.parametrize("limit", [None, 512])
def test_ids_of_texts_of_megabytes_are_the_librarys(limit):
    random = np.random.default_rng(10)
    megabytes = amount(2, 10)
    lines = [*mutate(tiny_tokenizers.SAMPLE * 200 * megabytes, random), *many(2_000 * megabytes, random)]
    big = " ".join(lines)
    big = big * (1_000_000 * megabytes // len(big.encode()) + 1)
    plain = "card declined at the gate, uid=0 " * 31_000 * megabytes
    assert tiny_tokenizers.different("uncased", [big, plain, plain.upper()], limit) == []
