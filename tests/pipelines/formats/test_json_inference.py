"""A column of JSON values has the type that holds the most of them exactly; the others are refused."""

import json
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.formats.json import JsonDecoder
from pipelines.formats.messages import columns_seen, decode_columns

ID = 1234567890123456789
DECIMAL = pa.decimal128(38, 0)


def decoded(*texts):
    """The type of the column `x`, its values, and the reasons for those that are refused."""
    values = [f'{{"x":{text},"y":1}}'.encode() for text in texts]
    schema = columns_seen(values, "json")
    found = decode_columns(values, "json", schema, JsonDecoder("topic", schema))
    kept = dict(zip(found.rows, found.batch.to_pylist(), strict=True))
    return schema.field("x").type, {row: one["x"] for row, one in kept.items()}, found.bad


@pytest.mark.parametrize(
    ("texts", "kind", "refused"),
    [
        ([str(ID), str(ID + 1), "0.5"], pa.int64(), {2: "expected a whole number, found 0.5"}),
        (["0.5", "1.5", str(ID)], pa.float64(), {2: f"{ID} has more digits than a double holds"}),
        (["0.5", "1", str(2**53), "1e3"], pa.float64(), {}),
        (["1", str(2**64)], DECIMAL, {}),
        (["1", str(2**64 - 1)], pa.uint64(), {}),
        (["-1", str(2**63), str(2**63 - 1)], DECIMAL, {}),
        (["-1", str(-(2**63))], pa.int64(), {}),
        ([str(10**38 - 1), str(-(10**38) + 1), "1"], DECIMAL, {}),
        (["1", "2", str(10**38)], pa.int64(), {2: "found 1000000000000000000"}),
        (["-1", str(2**64), '"12"'], DECIMAL, {2: 'expected a number, found "12"'}),
        (["0.5", "0.1234567890123456789"], pa.float64(), {1: "0.1234567890123456789 has more digits"}),
        (["0.5", "1e-400", "1e400"], pa.float64(), {1: "1E-400 has more digits", 2: "Number out of range"}),
        (["-0.0", "5e-324", "1.7976931348623157e308"], pa.float64(), {}),
        (["true", "false", "1"], pa.bool_(), {2: "expected true or false, found 1"}),
        (['"a"', '"2026-01-01T00:00:00Z"', "1", "null"], pa.string(), {2: "expected a string, found 1"}),
        (['"\\ud83d\\ude00"', '"\\ud800"', '"\\u0000"'], pa.string(), {1: "not JSON"}),
        (["null", "null"], pa.string(), {}),
        (["[]", "[]"], pa.list_(pa.string()), {}),
        (["[1]", f"[{ID},null]", "[0.5]"], pa.list_(pa.int64()), {2: "found [0.5]"}),
        (["[[0.5,1.5]]", f"[[1],[{ID}]]"], pa.list_(pa.list_(pa.float64())), {1: f"{ID} has more digits"}),
        (
            ['{"a":0.5}', f'{{"a":{ID}}}', "{}", '{"a":1.5,"b":[{"c":1}]}'],
            pa.struct([("a", pa.float64()), ("b", pa.list_(pa.struct([("c", pa.int64())])))]),
            {1: f"{ID} has more digits"},
        ),
        (['{"a":1}', '{"a":1,"a":1}'], pa.struct([("a", pa.int64())]), {1: "'x.a' appears twice"}),
    ],
)  # fmt: skip
def test_values_are_kept_or_refused(texts, kind, refused):
    found, kept, reasons = decoded(*texts)
    assert found == kind
    assert sorted(reasons) == list(refused)
    for row, part in refused.items():
        assert part in reasons[row]
    for row, value in kept.items():
        assert value == filled(json.loads(texts[row]), kind), texts[row]


def filled(value, kind):
    """A value with the fields that its struct has besides."""
    if isinstance(value, dict):
        return {field.name: filled(value.get(field.name), field.type) for field in kind}
    return [filled(one, kind.value_type) for one in value] if isinstance(value, list) else value


NUMBERS = (
    st.integers(-(2**65), 2**65)
    | st.integers(-(10**39), 10**39)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**6), max_value=10**6)
)
SCALARS = NUMBERS.map(str) | st.sampled_from(["null", "true", '"1"', '"0.5"', "[]", "[1.5]", '{"a":0.1}'])


@given(st.lists(SCALARS, min_size=1, max_size=8))
def test_no_value_changes(texts):
    _, kept, reasons = decoded(*texts)
    assert sorted([*kept, *reasons]) == list(range(len(texts)))
    for row, value in kept.items():
        read = json.loads(texts[row], parse_float=Decimal)
        if isinstance(value, float) and isinstance(
            read, Decimal
        ):  # a double stands for the number it came from
            digits = len(read.as_tuple().digits)
            assert Decimal(f"{value:.{digits - 1}e}") == read
        elif isinstance(read, (int, bool, str, type(None))):
            assert value == read
            assert isinstance(value, bool) == isinstance(read, bool)
