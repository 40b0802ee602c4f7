"""Types of Arrow as tables store them: every value survives, or the column is refused."""

import decimal
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from encoder.errors import ConfigurationError
from pipelines.sinks.tables.columns import as_stored, missing_columns

AT = datetime(2026, 1, 31, 23, 59, 58, 123456, tzinfo=UTC)
VALUES = {
    "int8": pa.array([-128, None, 127], pa.int8()),
    "int16": pa.array([-(2**15), None, 2**15 - 1], pa.int16()),
    "int64": pa.array([-(2**63), None, 2**63 - 1]),
    "uint8": pa.array([0, None, 255], pa.uint8()),
    "uint16": pa.array([0, None, 2**16 - 1], pa.uint16()),
    "uint32": pa.array([0, None, 2**32 - 1], pa.uint32()),
    "uint64": pa.array([0, None, 2**64 - 1], pa.uint64()),
    "float16": pa.array([1.5, None, 65504], pa.float16()),
    "float64": pa.array([0.1, None, float("inf")]),
    "bool": pa.array([True, None, False]),
    "string": pa.array(["", None, "ü𝄞"]),
    "word": pa.array(["a", None, "a"]).dictionary_encode(),
    "bytes": pa.array([b"\0", None, b"\xff"]),
    "code": pa.array([b"1234", None, b"\xff\0\xff\0"], pa.binary(4)),
    "day": pa.array([date(1969, 1, 1), None, date(2026, 1, 31)]),
    "at": pa.array([AT, None, AT.replace(year=1969)], pa.timestamp("us", "UTC")),
    "seconds": pa.array([AT.replace(microsecond=0), None, None], pa.timestamp("s", "Europe/Oslo")),
    "local": pa.array([AT.replace(tzinfo=None), None, None], pa.timestamp("us")),
    "amount": pa.array([decimal.Decimal("-1.25"), None, decimal.Decimal("9.99")], pa.decimal128(9, 2)),
    "vector": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.float16(), 2)),
    "codes": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int8(), 2)),
    "scores": pa.array([{"a": 1, "b": [1]}, None, {"a": None, "b": []}],
                       pa.struct([("a", pa.uint16()), ("b", pa.list_(pa.int32()))])),
    "tags": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
}  # fmt: skip


def test_every_value_is_read_back_from_the_table(open_events, lake, form):
    rows, table = pa.table(VALUES), open_events()
    table.create(table.stored(rows.schema))
    state = table.look()
    stored = as_stored(rows, state.schema)
    state.append(state.write(stored, 1 << 20), {})
    found = lake.rows(form)
    for name in rows.column_names:
        assert found[name].to_pylist() == rows[name].to_pylist(), name
    assert not missing_columns(table.look().schema, table.stored(rows.schema), table.uri).names


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("ns"),
        pa.duration("s"),
        pa.null(),
        pa.decimal256(50, 2),
        pa.list_(pa.timestamp("ns")),
        pa.struct([("a", pa.duration("s"))]),
    ],
)
def test_a_type_whose_values_would_change_is_refused(kind, open_events):
    with pytest.raises(ConfigurationError, match=r"the column 'x' is .*, and no .* table keeps such values"):
        open_events().stored(pa.schema([("x", kind)]))


def test_a_column_that_may_not_be_null_must_be_in_the_records():
    table = pa.schema([pa.field("id", pa.int64(), nullable=False)])
    with pytest.raises(ConfigurationError, match="a column 'id' that may not be null"):
        missing_columns(table, pa.schema([("text", pa.string())]), "delta:x")
