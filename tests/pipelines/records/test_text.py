"""Values of every type as text."""

import datetime as dt
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.records.text import as_text, json_text

UTC = dt.UTC
NS_PARIS = pa.timestamp("ns", "Europe/Paris")
MAP = pa.map_(pa.string(), pa.int64())
CODES = pa.array([0, 1], pa.int8())
NOON = dt.datetime(2026, 1, 2, 12, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([12, -1, None]), ["12", "-1", None]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([12.5, 12.0, 123456789012.0, 0.1]), ["12.5", "12", "123456789012", "0.1"]),
        (pa.array([-0.5, 1e300]), ["-0.5", "1e+300"]),
        (pa.array([float("nan"), float("inf"), -float("inf")]), [None, None, None]),
        (pa.array([0.1], pa.float32()), ["0.1"]),
        (pa.array([0.5], pa.float16()), ["0.5"]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array([Decimal("1.50")]), ["1.50"]),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("s")), ["2026-01-02T12:00:05"]),
        (pa.array([NOON.replace(microsecond=20)], NS_PARIS), ["2026-01-02T12:00:05.000020000Z"]),
        (pa.array([NOON], pa.timestamp("us", "UTC")), ["2026-01-02T12:00:05Z"]),
        (pa.array([dt.date(2026, 1, 2)]), ["2026-01-02"]),
        (pa.array([dt.time(1, 2, 3)]), ["01:02:03"]),
        (pa.array([b"a\xc3\xa9", None]), ["aé", None]),
        (pa.array([b"a", b"\xff"]), ["a", "\ufffd"]),
        (pa.array([[1, None], [], None]), ["[1,null]", "[]", None]),
        (pa.array([["a", 'q"\n']], pa.large_list(pa.string())), ['["a","q\\"\\n"]']),
        (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), ["[1,2]", None]),
        (pa.array([[("k", 1), ("j", None)], None, []], MAP), ['{"k":1,"j":null}', None, "{}"]),
        (pa.array([{"t": NOON}, None]), ['{"t":"2026-01-02T12:00:05Z"}', None]),
        (pa.array([{}, None], pa.struct([])), ["{}", None]),
        (pa.nulls(2), [None, None]),
        (pa.array([[float("nan")]]), ["[null]"]),
        (pa.array([2**31 - 1, -(2**31)], pa.int32()).cast(pa.date32()), ["5881580-07-11", "-5877641-06-23"]),
        (pa.array([2**62, None], pa.timestamp("us", "UTC")), ["148108-07-06T14:00:27.387904Z", None]),
        (pa.array([-62_135_596_800], pa.timestamp("s")), ["0001-01-01T00:00:00"]),
        (pa.array([1500, -1, None], pa.duration("ms")), ["PT1.5S", "-PT0.001S", None]),
        (pa.array([(14, 3, -500_000_000), None], pa.month_day_nano_interval()), ["P14M3DT-0.5S", None]),
        (pa.array([bytes(15) + b"\x07", None], pa.binary(16)).cast(pa.uuid()),
         ["00000000-0000-0000-0000-000000000007", None]),
        (pa.array([1, 0, None], pa.int8()).cast(pa.bool8()), ["true", "false", None]),
        (pa.UnionArray.from_sparse(CODES, [pa.array([1, 2]), pa.array(["a", "b"])]), ["1", '"b"']),
        (pa.UnionArray.from_dense(CODES, pa.array([0, 0], pa.int32()), [pa.array([1]), pa.array(["b"])]),
         ["1", '"b"']),
    ],
)  # fmt: skip
def test_values_as_text(values, texts):
    assert as_text(values).to_pylist() == texts
    assert as_text(values.slice(1)).to_pylist() == texts[1:]
    assert as_text(values.slice(0, 0)).to_pylist() == []


RECORDS = st.none() | st.fixed_dictionaries(
    {
        "s": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        'k"\n': st.none() | st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)),
        "o": st.none()
        | st.fixed_dictionaries({"l": st.none() | st.lists(st.none() | st.lists(st.booleans()))}),
    }
)
KIND = pa.struct(
    [
        ("s", pa.string()),
        ('k"\n', pa.list_(pa.int64())),
        ("o", pa.struct([("l", pa.list_(pa.list_(pa.bool_())))])),
    ]
)


@given(st.lists(RECORDS), st.integers(0, 3))
def test_json_text_reads_back_as_the_same_values(records, start):
    values = pa.array(records, KIND).slice(start)
    texts = json_text(values).to_pylist()
    assert [None if text is None else json.loads(text) for text in texts] == records[start:]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_floats_read_back_as_the_same_bits(numbers):
    texts = as_text(pa.array(numbers, pa.float64())).to_pylist()
    assert np.array([float(text) for text in texts]).tolist() == numbers
