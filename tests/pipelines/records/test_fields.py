"""Fields by their dotted names."""

import pyarrow as pa
import pytest

from pipelines.records.fields import field_at, field_names, field_path, field_type, prune

INNER = pa.struct([("c", pa.int64()), ("d.e", pa.string())])
SCHEMA = pa.schema(
    [("a", pa.struct([("b", INNER), ("x", pa.bool_())])), ("a.b", INNER), ("a.x", pa.string())]
)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a", ("a",)),
        ("a.x", ("a.x",)),
        ("a.b.c", ("a.b", "c")),
        ("a.b.d.e", ("a.b", "d.e")),
        ("a.c", None),
        ("a.x.y", None),
        ("", None),
        ("a.", None),
    ],
)
def test_the_longest_name_that_is_there_wins(name, path):
    assert field_path(SCHEMA, name) == path


def test_nested_values_and_types_are_found():
    batch = pa.RecordBatch.from_pylist([{"a": {"b": {"c": 1}}}, {"a": {"b": None}}, {"a": None}], SCHEMA)
    assert field_at(batch, ("a", "b", "c")).to_pylist() == [1, None, None]
    assert field_type(SCHEMA, ("a", "b", "c")) == pa.int64()


def test_a_struct_is_pruned_to_the_fields_named():
    field = SCHEMA.field("a")
    assert prune(field, [("b", "c")]).type == pa.struct([("b", pa.struct([("c", pa.int64())]))])
    assert prune(field, [("b", "c"), ("b",)]).type == pa.struct([("b", INNER)])
    assert prune(field, [("b",), ()]) == field


def test_all_names_are_listed():
    assert field_names(SCHEMA)[:5] == ["a", "a.b", "a.b.c", "a.b.d.e", "a.x"]
