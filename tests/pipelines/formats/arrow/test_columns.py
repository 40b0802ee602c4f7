"""Arrow messages with other columns than most: the types of all, and rows that do not fit them."""

from decimal import Decimal

import pyarrow as pa
import pytest
from arrow_messages import stream_of

from pipelines.formats.arrow.columns import columns_of, fit


def types(*columns):
    """The common type of a column in several messages."""
    return columns_of([stream_of({"v": column}) for column in columns])["v"]


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ([pa.array([1], pa.int8()), pa.array([1], pa.int64())], pa.int64()),
        ([pa.nulls(1), pa.array(["x"])], pa.string()),
        ([pa.nulls(1)], pa.string()),
        ([pa.array(["x"]), pa.array([1]), pa.array(["y"])], pa.string()),
        ([pa.array([1]), pa.array([Decimal("1.5")]), pa.array([1])], pa.int64()),
        ([pa.array([{"a": 1}]), pa.array([{"b": "x"}])], pa.struct({"a": pa.int64(), "b": pa.string()})),
        ([pa.array(["x"]).dictionary_encode(), pa.array(["y"])], pa.string()),
        ([pa.array([[1]], pa.list_view(pa.int8()))], pa.list_(pa.int8())),
    ],
)
def test_a_column_has_the_type_that_all_fit_or_most_have(columns, kind):
    assert types(*columns) == kind


def test_a_union_is_no_column():
    union = pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])])
    assert "union" in types(union)


def test_columns_of_all_messages_are_found_whatever_else_is_there():
    found = columns_of([stream_of({"a": [1]}), b"junk", None, stream_of({"b": ["x"]})])
    assert found == {"a": pa.int64(), "b": pa.string()}


@pytest.mark.parametrize(
    ("values", "kind", "wanted"),
    [
        (pa.array([1, 2**40, None]), pa.int32(), [1, None]),
        (pa.array([1.0, 1.5, None]), pa.int64(), [1, None]),
        (pa.array([1, 2**60, None]), pa.float64(), [1.0, None]),
        (pa.array([1, None]), pa.string(), [None]),
        (pa.array(["1", None]), pa.int64(), [None]),
        (pa.array([True, None]), pa.int64(), [None]),
        (pa.array([0.1, None]), pa.float32(), [None]),
        (pa.array([Decimal("1.1"), None]), pa.float64(), [None]),
        (pa.array([Decimal("1.10"), Decimal("1.11"), None]), pa.decimal128(9, 1), [Decimal("1.1"), None]),
        (pa.array([1, None], pa.timestamp("us")), pa.timestamp("us", "UTC"), [None]),
        (pa.array([[1], [2**40], None]), pa.list_(pa.int32()), [[1], None]),
        (pa.array([{"a": 1, "b": 2}]), pa.struct({"a": pa.int8(), "c": pa.int8()}), [{"a": 1, "c": None}]),
        (pa.array([b"x", None]), pa.string(), [None]),
        (pa.array([b"0123456789abcdef", None], pa.uuid()), pa.string(), [None]),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_bad_and_no_value_is_changed(values, kind, wanted):
    batch, rows, bad = fit(pa.record_batch({"v": values}), pa.schema({"v": kind}))
    assert batch["v"].to_pylist() == wanted
    assert sorted([*rows.tolist(), *bad]) == list(range(len(values)))
    assert all(bad.values())


def test_other_columns_are_left_out_and_missing_ones_are_null():
    batch, rows, bad = fit(
        pa.record_batch({"b": [1, 2], "c": ["x", "y"]}), pa.schema({"a": pa.int8(), "b": pa.int64()})
    )
    assert batch.to_pylist() == [{"a": None, "b": 1}, {"a": None, "b": 2}]
    assert (rows.tolist(), bad) == ([0, 1], {})
