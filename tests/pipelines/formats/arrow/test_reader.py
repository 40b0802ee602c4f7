"""Rows of Arrow messages: what is damaged is said, and nothing of it is trusted."""

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from arrow_messages import rows_of, stream_of
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.formats.arrow.reader import read_stream, row_stream, stream_schema
from pipelines.formats.arrow.rows import WHOLE, unpack
from pipelines.formats.arrow.sizes import DamagedStream, schema_end, stream_size

LIMIT = 1 << 20
EVENTS = {"id": range(1000), "text": ["card declined at the gate"] * 1000}


def not_utf8(*values):
    return pa.array(values, pa.binary()).view(pa.string())


def read(value, limit=LIMIT, **options):
    return read_stream(value, limit=limit, **options)


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_the_size_of_a_stream_is_the_one_it_has_once_it_is_decoded(compression):
    batch = pa.record_batch(EVENTS)
    stream = stream_of(batch, batch.slice(0, 10), compression=compression)
    size = stream_size(stream)
    assert size.rows == 1010
    assert batch.nbytes <= size.n_bytes < 1.1 * batch.nbytes + 2000
    assert pa.ipc.read_schema(pa.py_buffer(stream[: schema_end(stream)])) == batch.schema


def test_rows_of_all_batches_come_in_order():
    found = read(stream_of(pa.record_batch(EVENTS), {"id": [7], "text": ["x"]}))
    assert found.batch["id"].to_pylist() == [*range(1000), 7]
    assert (found.n_rows, found.bad, found.good.tolist()) == (1001, {}, list(range(1001)))
    assert read(stream_of(pa.record_batch(EVENTS).slice(0, 0))).n_rows == 0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the value is null"),
        (b"", "the value is empty"),
        (b'{"id": 1}', "it ends inside a message"),
        (b"ARROW1\0\0", "an Arrow file, not a stream"),
        (stream_of(EVENTS)[:-100], "it ends inside a message: 92 bytes are missing"),
        (stream_of(EVENTS) + b"x", "1 bytes behind the end"),
        (stream_of(EVENTS) * 2, "bytes behind the end of the stream"),
        (stream_of({"v": ["0" * 50_000_000]}, compression="zstd"), r"need 50,000,\d{3} bytes of memory"),
        (stream_of({"v": pa.nulls(2_000_000)}), "write fewer rows in a message"),
        (stream_of({"v": pa.array(["0" * 50_000] * 50).dictionary_encode()}), "write fewer rows"),
        (stream_of({"v": pa.array([[1]], pa.list_view(pa.int8()))}), "column 'v': .* is not supported"),
        (
            stream_of(pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])),
            "two columns 'a'",
        ),
    ],
)
def test_what_is_no_stream_that_can_be_read_says_why(value, reason):
    with pytest.raises(DamagedStream, match=reason):
        read(value)


def test_rows_with_text_that_is_not_utf_8_are_bad_and_the_others_are_not():
    texts, inner = not_utf8(b"ok", b"\xff", b"x", b"y"), not_utf8(b"ok", b"ok", b"\xff", b"y")
    struct = pa.StructArray.from_arrays([inner], ["inner"])
    found = read(stream_of({"text": texts, "more": struct, "id": [0, 1, 2, 3]}))
    assert found.batch.to_pylist() == [
        {"text": "ok", "more": {"inner": "ok"}, "id": 0},
        {"text": "y", "more": {"inner": "y"}, "id": 3},
    ]
    assert all(reason.startswith("text is not UTF-8") for reason in found.bad.values())
    assert list(found.bad) == [1, 2]
    coded = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), not_utf8(b"ok", b"\xff"))
    assert list(read(stream_of({"text": coded})).bad) == [1]
    assert read(stream_of({"text": texts, "id": [0, 1, 2, 3]}), columns={"id"}).bad == {}


def test_columns_have_plain_types():
    coded = pa.array(["a", "b"]).dictionary_encode()
    found = read(
        stream_of(
            {
                "coded": coded,
                "inside": pa.StructArray.from_arrays([coded], ["coded"]),
                "view": pa.array(["v", None], pa.string_view()),
                "runs": pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(["r"])),
                "vector": pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2)),
                "amount": pa.array([Decimal("1.50"), None], pa.decimal128(9, 2)),
                "at": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC")),
                "key": pa.array([b"0123456789abcdef"] * 2, pa.uuid()),
            }
        )
    ).batch
    assert found.schema.types == [
        pa.string(),
        pa.struct({"coded": pa.string()}),
        pa.string(),
        pa.string(),
        pa.list_(pa.float32()),
        pa.decimal128(9, 2),
        pa.timestamp("us", "UTC"),
        pa.uuid(),
    ]
    first = found.to_pylist()[0]
    assert first["coded"] == first["inside"]["coded"] == "a"
    assert (first["view"], first["runs"], first["amount"]) == ("v", "r", Decimal("1.50"))
    assert stream_schema(b"junk") is None


def test_only_the_wanted_columns_are_read():
    stream = stream_of(EVENTS)
    assert read(stream, columns={"id", "other"}).batch.schema.names == ["id"]
    assert read(stream, columns=()).batch.num_rows == 1000


def test_a_row_is_a_message_of_its_own():
    stream = stream_of(EVENTS, {"id": [-1], "text": ["last"]}, compression="zstd")
    assert rows_of(row_stream(stream, 1000)) == [{"id": -1, "text": "last"}]
    assert rows_of(row_stream(stream, 3)) == [{"id": 3, "text": EVENTS["text"][3]}]


def test_messages_become_one_sequence_of_records():
    one, other = stream_of({"id": [1, 2]}), stream_of({"id": [3], "more": [4]})
    found = unpack([one, b"junk", stream_of({"id": pa.array([], pa.int64())}), one, other, None], limit=LIMIT)
    assert found.messages.tolist() == [0, 0, 1, 3, 3, 4, 5]
    assert found.items.tolist() == [0, 1, WHOLE, 0, 1, 0, WHOLE]
    rows = found.rows
    assert (rows.n, rows.good.tolist(), list(rows.bad)) == (7, [0, 1, 3, 4, 5], [2, 6])
    assert [batch.to_pylist() for batch in rows.batches] == [
        [{"id": 1}, {"id": 2}, {"id": 1}, {"id": 2}],
        [{"id": 3, "more": 4}],
    ]
    part = rows.part(1, 6)
    assert (part.n, part.good.tolist(), list(part.bad)) == (5, [0, 2, 3, 4], [1])
    assert [batch["id"].to_pylist() for batch in part.batches] == [[2, 1, 2], [3]]


MESSAGES = [
    stream_of(
        {
            "id": range(20),
            "text": ["card declined"] * 20,
            "coded": pa.array(["a", "b"] * 10).dictionary_encode(),
            "list": [[1], []] * 10,
            "inside": [{"x": "y"}, None] * 10,
        },
        compression=compression,
    )
    for compression in (None, "lz4", "zstd")
]


@given(
    st.sampled_from(MESSAGES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    st.floats(0.5, 1),
)
@example(MESSAGES[0], [(0.0, 255)], 1.0)
def test_a_damaged_message_is_read_or_refused_and_never_crashes(message, changes, kept):
    data = bytearray(message[: round(kept * len(message))])
    for place, byte in changes:
        data[int(place * len(data))] = byte
    found = unpack([bytes(data)], limit=LIMIT)
    rows = found.rows
    assert len(found.messages) == len(found.items) == rows.n == len(rows.good) + len(rows.bad)
    assert sum(batch.num_rows for batch in rows.batches) == len(rows.good)
    for batch in rows.batches:
        batch.validate(full=True)
    for item in found.items.tolist():
        if item != WHOLE:
            rows_of(row_stream(bytes(data), item))
