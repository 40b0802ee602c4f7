"""Schemas that let a few bytes ask for a lot are told from all others."""

import fastavro
import pytest

from pipelines.formats.avro.reader import AvroReader
from pipelines.formats.avro.shape import holds_itself, is_unbounded
from pipelines.formats.schema_registry import Schema, SchemaError

NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
EMPTY = {"type": "record", "name": "Empty", "fields": []}
TWO = {
    "type": "record",
    "name": "Two",
    "fields": [{"name": "a", "type": EMPTY}, {"name": "b", "type": "Empty"}],
}


def shapes(kind):
    names = {}
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}]}
    parsed = fastavro.parse_schema(schema, names)
    return holds_itself(parsed, names), is_unbounded(parsed, names)


@pytest.mark.parametrize(
    "kind",
    [
        "R",
        ["null", "R"],
        {"type": "array", "items": "R"},
        {"type": "map", "values": ["null", "R"]},
        NODE,
        {"type": "array", "items": {"type": "map", "values": NODE}},
    ],
)
def test_records_in_themselves(kind):
    assert shapes(kind)[0]


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "array", "items": "null"},
        {"type": "array", "items": {"type": "null"}},
        {"type": "array", "items": EMPTY},
        {"type": "array", "items": TWO},
        {"type": "map", "values": ["int", {"type": "array", "items": TWO}]},
        {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}},
    ],
)
def test_arrays_of_nothing(kind):
    assert shapes(kind) == (False, True)


@pytest.mark.parametrize(
    "kind",
    [
        "null",
        EMPTY,
        TWO,
        {"type": "map", "values": "null"},  # a key is some bytes
        {"type": "array", "items": ["null", "string"]},
        {"type": "array", "items": {"type": "array", "items": "int"}},
        {"type": "array", "items": {"type": "enum", "name": "E", "symbols": ["A"]}},
        {"type": "array", "items": {"type": "fixed", "name": "F", "size": 1}},
        {"type": "array", "items": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
)
def test_other_types(kind):
    assert shapes(kind) == (False, False)


def test_a_record_in_itself_is_bounded():
    assert shapes({"type": "array", "items": ["null", "R"]}) == (True, False)


def test_such_a_schema_is_not_read():
    text = '{"type":"record","name":"R","fields":[{"name":"x","type":{"type":"array","items":"null"}}]}'
    with pytest.raises(SchemaError, match="arrays of nothing"):
        AvroReader(Schema("AVRO", text))
