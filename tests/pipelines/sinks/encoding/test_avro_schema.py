"""The schema of enriched records: by it one reads a record's own bytes with the added fields behind them."""

import io
import json

import fastavro
import pyarrow as pa
import pytest

from pipelines.enrich.columns import VectorFormat
from pipelines.formats.avro.reader import AvroSlices
from pipelines.formats.schema_registry import Schema, header
from pipelines.sinks.encoding.avro_schema import kept_fields, with_vectors

USER = {"type": "record", "name": "User", "namespace": "shop", "fields": [{"name": "name", "type": "string"}]}
PAID = {
    "type": "record",
    "name": "Paid",
    "namespace": "shop",
    "doc": "A payment.",
    "fields": [
        {"name": "id", "type": "int", "doc": "Its number."},
        {"name": "user", "type": USER},
        {"name": "friend", "type": ["null", "User"], "default": None},
        {"name": "more", "type": {"type": "map", "values": {"type": "array", "items": "shop.User"}}},
    ],
}
RECORD = {"id": 1, "user": {"name": "a"}, "friend": {"name": "b"}, "more": {"x": [{"name": "c"}]}}
NODE = {
    "type": "record",
    "name": "Node",
    "fields": [
        {"name": "id", "type": "int"},
        {"name": "next", "type": ["null", "Node"]},
        {"name": "other", "type": ["null", "Node"]},
    ],
}


def schema_of(schema, parts=None):
    return Schema(
        "AVRO", json.dumps(schema), (), {name: json.dumps(one) for name, one in (parts or {}).items()}
    )


def bytes_of(schema, record):
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), record)
    return stream.getvalue()


def read(schema, data, names=None):
    parsed = fastavro.parse_schema(json.loads(schema.text), names if names is not None else {})
    stream = io.BytesIO(data)
    record = fastavro.schemaless_reader(stream, parsed, None)
    assert stream.tell() == len(data)
    return record


TAIL = b"\x04\1\2" + b"\x02v"  # two bytes of a vector, and the label v
BINARY = VectorFormat("binary", "int8")


@pytest.mark.parametrize(
    "wanted", [None, ["id"], ["friend"], ["more", "id"], ["friend", "more"], ["user", "more"], []]
)
def test_a_record_and_its_tail_are_a_record(wanted):
    original = schema_of(PAID)
    made = with_vectors(original, wanted, BINARY)
    keep = kept_fields(original, wanted)
    body = AvroSlices(original, keep)(header(1) + bytes_of(PAID, RECORD))
    expected = {name: value for name, value in RECORD.items() if wanted is None or name in wanted}
    assert read(made, body + TAIL) == {**expected, "embedding": b"\1\2", "model_version": "v"}
    assert json.loads(made.text)["name"] in ("Paid", "shop.Paid")


def test_comments_stay():
    made = json.loads(with_vectors(schema_of(PAID), None, BINARY).text)
    assert made["fields"][: len(PAID["fields"])] == PAID["fields"]
    assert made["doc"] == "A payment."


def test_fields_of_an_earlier_enrichment_are_replaced():
    before = {**PAID, "fields": [*PAID["fields"], {"name": "embedding", "type": "string"}]}
    original = schema_of(before)
    made = with_vectors(original, None, BINARY)
    body = AvroSlices(original, kept_fields(original, None))(
        header(1) + bytes_of(before, {**RECORD, "embedding": "old"})
    )
    assert read(made, body + TAIL) == {**RECORD, "embedding": b"\1\2", "model_version": "v"}


@pytest.mark.parametrize("wanted", [None, ["id", "other"]])
def test_a_record_that_holds_its_kind_keeps_what_is_inside(wanted):
    original = schema_of(NODE)
    record = {"id": 1, "next": None, "other": {"id": 2, "next": None, "other": None}}
    made = with_vectors(original, wanted, BINARY)
    body = AvroSlices(original, kept_fields(original, wanted))(header(1) + bytes_of(NODE, record))
    found = read(made, body + TAIL)
    assert found["other"] == record["other"]
    assert json.loads(made.text)["name"] == "NodeEnriched"


def test_names_of_other_schemas_stay_names():
    schema = {**PAID, "fields": [{"name": "id", "type": "int"}, {"name": "user", "type": "shop.User"}]}
    made = with_vectors(schema_of(schema, {"shop.User": USER}), ["user"], BINARY)
    fields = json.loads(made.text)["fields"]
    assert fields[0] == {"name": "user", "type": "shop.User"}
    names = {}
    fastavro.parse_schema(USER, names)
    assert read(made, b"\x02a" + TAIL, names)["user"] == {"name": "a"}


@pytest.mark.parametrize(
    ("vectors", "kind", "doc"),
    [
        (VectorFormat("list", "float16"), {"type": "array", "items": "float"}, "float16 numbers"),
        (VectorFormat("list", "int8"), {"type": "array", "items": "int"}, "int8 numbers"),
        (VectorFormat("binary", "float32"), "bytes", "float32 numbers, little endian"),
    ],
)
def test_the_vector_says_what_it_is(vectors, kind, doc):
    embedding, label = json.loads(with_vectors(schema_of(PAID), ["id"], vectors).text)["fields"][1:]
    assert embedding == {"name": "embedding", "type": kind, "doc": doc}
    assert label == {"name": "model_version", "type": "string"}


def test_scores_take_the_place_of_fields_of_their_names():
    own = {**PAID, "fields": [*PAID["fields"], {"name": "fraud_score", "type": "string"}]}
    scores = pa.schema([("fraud_label", pa.string()), ("fraud_score", pa.float32())])
    assert kept_fields(schema_of(own), None, scores) == ["id", "user", "friend", "more"]
    made = with_vectors(schema_of(own), None, BINARY, scores)
    label, score = json.loads(made.text)["fields"][-2:]
    assert label == {"name": "fraud_label", "type": ["null", "string"], "default": None}
    assert score == {"name": "fraud_score", "type": ["null", "float"], "default": None}
    data = AvroSlices(schema_of(own), ["id"])(header(1) + bytes_of(own, {**RECORD, "fraud_score": "high"}))
    made = with_vectors(schema_of(own), ["id"], BINARY, scores)
    found = read(made, data + TAIL + b"\x02\x08spam" + b"\x00")
    assert found["fraud_label"] == "spam"
    assert found["fraud_score"] is None
