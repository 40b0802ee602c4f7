"""Types of columns have Arrow's names, and some that everybody knows."""

import pyarrow as pa
import pytest

from pipelines.records.type_names import json_has, named_type

TYPES = [
    pa.bool_(), pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.string(), pa.large_string(),
    pa.binary(), pa.date32(), pa.decimal128(38, 38), pa.decimal128(12, 2), pa.decimal256(76, 0),
    pa.timestamp("s"),
    pa.timestamp("us", "UTC"), pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("ms", "+05:30"),
]  # fmt: skip


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_types_have_the_names_that_arrow_prints(kind):
    assert named_type(str(kind)) == kind
    assert json_has(kind)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("date", pa.date32()),
        ("decimal(12,2)", pa.decimal128(12, 2)),
        ("decimal( 12 , 2 )", pa.decimal128(12, 2)),
        ("decimal(20)", pa.decimal128(20, 0)),
        ("decimal(39,2)", pa.decimal256(39, 2)),
        ("timestamp[us,tz=UTC]", pa.timestamp("us", "UTC")),
        ("double", pa.float64()),
    ],
)
def test_other_names(name, kind):
    assert named_type(name) == kind


@pytest.mark.parametrize(
    "name",
    [
        "decimal", "decimal(0,0)", "decimal(77,0)", "decimal128(39,0)", "decimal(2,3)", "decimal(2,-1)",
        "timestamp[us, tz=Nowhere/Atall]", "timestamp[us, tz=+25:00]", "timestamp[us, tz=../etc]", "integer",
        "",
    ],
)  # fmt: skip
def test_names_that_are_none(name):
    with pytest.raises(ValueError, match=r"."):
        named_type(name)


@pytest.mark.parametrize("name", ["time32[s]", "time64[us]", "duration[s]", "float16", "date64", "null"])
def test_types_that_json_does_not_have(name):
    assert not json_has(named_type(name))
