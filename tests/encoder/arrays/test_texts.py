"""Texts of every type become the arrays that kernels read."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.arrays.texts import in_blocks, read_texts, strings
from encoder.errors import InputError
from encoder.kernels.wordpiece.pieces import ROOM

VALUES = ["card", None, "", "é中𝔸", "gate", None, "x" * 40]


def _read(texts):
    """Each text as the buffers hold it; None for null."""
    out = []
    for parts in read_texts(texts):
        rows = np.arange(len(parts.offsets) - 1)
        valid = parts.valid if len(parts.valid) else np.ones(len(rows), bool)
        assert len(valid) == len(rows)
        assert parts.offsets.dtype == np.int64
        assert parts.data.dtype == np.uint8
        out += [text if ok else None for text, ok in zip(strings(parts, rows), valid, strict=True)]
    return out


KINDS = {
    "list": list,
    "tuple": tuple,
    "generator": lambda values: (value for value in values),
    "numpy objects": lambda values: np.array(values, object),
    "string": lambda values: pa.array(values, pa.string()),
    "large_string": lambda values: pa.array(values, pa.large_string()),
    "string_view": lambda values: pa.array(values, pa.string_view()),
    "dictionary": lambda values: pa.array(values, pa.string()).dictionary_encode(),
    "dictionary of large_string": lambda values: pa.array(values, pa.large_string()).dictionary_encode(),
    "chunks": lambda values: pa.chunked_array([values[:3], [], values[3:]], pa.string()),
    "chunks of views": lambda values: pa.chunked_array([values[:2], values[2:]], pa.string_view()),
    "slice": lambda values: pa.array(["no", None, *values, "no"], pa.string())[2:-1],
    "slice of large_string": lambda values: pa.array([None, "n", *values, None], pa.large_string())[2:-1],
    "slice of a slice": lambda values: pa.array(["no"] * 9 + values, pa.string())[3:][6:],
    "slice of a dictionary": lambda values: pa.array(["no", *values], pa.string()).dictionary_encode()[1:],
    "slice of views": lambda values: pa.array(["no", *values], pa.string_view())[1:],
    "from IPC": lambda values: pa.ipc.open_stream(_stream(values)).read_all()["text"],
}


def _stream(values):
    sink = pa.BufferOutputStream()
    table = pa.table({"text": pa.array(values, pa.string())})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_texts_is_read(kind):
    assert _read(KINDS[kind](VALUES)) == VALUES


@pytest.mark.parametrize("kind", KINDS)
def test_no_texts_are_no_texts(kind):
    assert _read(KINDS[kind]([])) == []


@pytest.mark.parametrize("kind", KINDS)
def test_nulls_alone_are_nulls(kind):
    assert _read(KINDS[kind]([None] * 5)) == [None] * 5


@given(
    values=st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=9)), data=st.data()
)
def test_slices_hold_what_they_show(values, data):
    first = data.draw(st.integers(0, len(values)))
    last = data.draw(st.integers(first, len(values)))
    kind = data.draw(st.sampled_from([pa.string(), pa.large_string(), pa.string_view()]))
    assert _read(pa.array(values, kind)[first:last]) == values[first:last]


def test_arrow_nulls_hold_no_texts():
    assert [text or "" for text in _read(pa.nulls(4))] == [""] * 4


def test_bytes_of_a_null_are_hidden():
    data = pa.py_buffer(b"seensecretseen")
    offsets = pa.py_buffer(np.array([0, 4, 10, 14], np.int32))
    array = pa.Array.from_buffers(pa.string(), 3, [pa.py_buffer(b"\x05"), offsets, data])
    assert _read(array) == ["seen", None, "seen"]


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan])
def test_missing_values_of_pandas_are_nulls(missing):
    assert _read(["a", missing]) == ["a", None]
    assert _read(np.array(["a", missing], object)) == ["a", None]


def test_texts_of_numpy_are_texts():
    assert _read(np.array(["card", "é"])) == ["card", "é"]


@pytest.mark.parametrize(
    "texts",
    [
        [1],
        ["a", 2],
        [b"bytes"],
        ("a", b"b"),
        b"bytes",
        5,
        None,
        [["a"]],
        np.array([b"a"]),
        np.array([["a"]]),
        [1.5],
    ],
    ids=str,
)
def test_other_types_than_text_are_refused_in_one_line(texts):
    with pytest.raises(InputError, match="texts must be str or None") as caught:
        read_texts(texts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [pa.int64(), pa.binary(), pa.list_(pa.string())], ids=str)
def test_arrow_arrays_of_other_types_are_refused_by_their_type(kind):
    for wrong in (pa.array([], kind), pa.chunked_array([pa.nulls(3, kind)])):
        with pytest.raises(InputError, match="texts must be Arrow strings, not ") as caught:
            read_texts(wrong)
        assert str(kind) in str(caught.value)


def test_a_lone_surrogate_is_refused_with_the_way_out():
    with pytest.raises(InputError, match=r"lone surrogate.*errors='replace'"):
        read_texts(["fine", "\ud800"])


def test_bytes_that_are_no_utf8_are_refused_with_the_way_out():
    array = read_texts(pa.array([b"fine", b"\xff"]).view(pa.string()))[0]
    with pytest.raises(InputError, match=r"not valid UTF-8.*errors='replace'"):
        strings(array, np.array([0, 1]))


@given(values=st.lists(st.text(st.characters(max_codepoint=200), max_size=9), max_size=9))
def test_lists_of_str_are_read_with_and_without_nulls(values):
    assert _read(values) == values
    assert _read([*values, None]) == [*values, None]


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_one_str_is_one_text(text):
    assert _read(text) == [text]


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
@pytest.mark.parametrize("n_texts", [0, 1, 511, 512, 513, 1024, 5000, 8192, 8193, 100_000])
def test_blocks_are_all_texts_in_order_and_fill_the_threads(n_texts, threads):
    values = pa.array(range(n_texts)).cast(pa.string())
    blocks = in_blocks(read_texts(pa.chunked_array([values[:7], values[7:]], pa.string())), threads)
    assert [text for b in blocks for text in _texts(b.texts)] == values.to_pylist()
    sizes = [len(block.texts.offsets) - 1 for block in blocks]
    assert [block.first for block in blocks] == np.cumsum([0, *sizes])[:-1].tolist()
    assert all(0 < size <= 4096 for size in sizes)
    if n_texts - 7 >= 512 * threads:
        assert len(blocks[1:]) % threads == 0


def _texts(parts):
    return strings(parts, np.arange(len(parts.offsets) - 1))


def test_some_of_the_texts_as_buffers_of_their_own():
    [given] = read_texts(pa.array(["é", None, "", "abc", "d"]))
    taken = given.take(np.array([4, 0, 2]))
    assert strings(taken, np.arange(3)) == ["d", "é", ""]
    assert len(taken.data) >= taken.offsets[-1] + ROOM
    assert not taken.data.flags.writeable
