"""Arrow's columns as Avro records: what is written is read again."""

import io
from datetime import UTC, date, datetime, time
from decimal import Decimal

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.errors import ConfigurationError
from pipelines.formats.avro.types import avro_columns, avro_schema
from pipelines.sinks.encoding.avro import encoded_records

ROW = {
    "flag": (pa.bool_(), True),
    "tiny": (pa.uint8(), 255),
    "long": (pa.int64(), -(2**63)),
    "large": (pa.uint32(), 2**32 - 1),
    "huge": (pa.uint64(), 2**64 - 1),
    "float": (pa.float32(), 0.5),
    "double": (pa.float64(), 0.1),
    "text": (pa.string(), "ü"),
    "raw": (pa.binary(), b"\0"),
    "fixed": (pa.binary(2), b"ab"),
    "day": (pa.date32(), date(2026, 2, 3)),
    "seconds": (pa.timestamp("s", "UTC"), datetime(2026, 2, 3, 4, 5, 6, 0, UTC)),
    "at": (pa.timestamp("us", "UTC"), datetime(2026, 2, 3, 4, 5, 6, 7, UTC)),
    "clock": (pa.time64("us"), time(1, 2, 3, 4)),
    "clock_ms": (pa.time32("ms"), time(1, 2, 3, 4000)),
    "amount": (pa.decimal128(9, 2), Decimal("1.50")),
    "user": (
        pa.struct([("name", pa.string()), ("id", pa.uint64()), ("in", pa.struct([("x", pa.int8())]))]),
        {"name": "x", "id": 2**64 - 1, "in": {"x": -1}},
    ),
    "list": (pa.list_(pa.int32()), [1, None]),
    "users": (pa.list_(pa.struct([("x", pa.uint64())])), [{"x": 1}]),
    "tags": (pa.map_(pa.string(), pa.int64()), {"a": 1, "b": None}),
}


def round_trip(columns, rows):
    wanted = pa.schema([field.with_type(avro_columns(field.type)) for field in columns])
    batch = pa.RecordBatch.from_pylist(rows, columns).cast(wanted)
    schema = fastavro.parse_schema(avro_schema(wanted, "Row"))
    encoded = encoded_records(batch.to_pylist(maps_as_pydicts="strict"), schema)
    return [fastavro.schemaless_reader(io.BytesIO(one), schema, None) for one in encoded]


def test_columns_of_every_type():
    columns = pa.schema([(name, kind) for name, (kind, _) in ROW.items()])
    row = {name: value for name, (_, value) in ROW.items()}
    empty = dict.fromkeys(ROW)
    assert round_trip(columns, [row, empty]) == [row, empty]


ROWS = st.fixed_dictionaries(
    {
        "id": st.none() | st.integers(-(2**63), 2**63 - 1),
        "text": st.none() | st.text(),
        "score": st.none() | st.floats(allow_nan=False),
        "at": st.none() | st.datetimes(timezones=st.just(UTC), min_value=datetime(1900, 1, 1)),
        "user": st.none() | st.fixed_dictionaries({"tags": st.none() | st.lists(st.none() | st.text())}),
        "counts": st.none() | st.dictionaries(st.text(), st.none() | st.integers(0, 2**64 - 1)),
    }
)
COLUMNS = pa.schema(
    [
        ("id", pa.int64()),
        ("text", pa.string()),
        ("score", pa.float64()),
        ("at", pa.timestamp("us", "UTC")),
        ("user", pa.struct([("tags", pa.list_(pa.string()))])),
        ("counts", pa.map_(pa.string(), pa.uint64())),
    ]
)


@given(st.lists(ROWS, min_size=1, max_size=5))
def test_records_come_back(rows):
    assert round_trip(COLUMNS, rows) == rows


@pytest.mark.parametrize(
    ("field", "says"),
    [
        (pa.field("user-id", pa.string()), "'user-id' has a name that Avro does not allow"),
        (pa.field("at", pa.timestamp("ns")), "which Avro does not have"),
        (pa.field("in", pa.struct([("1st", pa.string())])), "'1st' has a name"),
        (pa.field("m", pa.map_(pa.int32(), pa.string())), "which Avro does not have"),
    ],
)
def test_columns_that_avro_lacks(field, says):
    with pytest.raises(ConfigurationError, match=says):
        avro_schema(pa.schema([field]), "Row")
