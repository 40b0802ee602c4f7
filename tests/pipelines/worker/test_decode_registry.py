"""Values with schemas become records with vectors, in every form that outputs need."""

import base64
import io
import json
from datetime import UTC, datetime

import fastavro
import msgspec
import numpy as np
import pytest
from confluent_kafka.schema_registry import Schema as Sent
from confluent_kafka.schema_registry import SchemaRegistryClient
from plans import plan_of

from encoder import Encoder
from encoder.errors import ConfigurationError, RegistryUnavailable
from pipelines.enrich.model_follower import FollowedModel
from pipelines.formats.schema_registry import HEADER, header, schema_id
from pipelines.kafka.registry import Registry
from pipelines.sinks.kafka import record_encoder
from pipelines.worker.configuration.columns import fields_seen, output_schema
from pipelines.worker.configuration.schemas import Schemas
from pipelines.worker.decode import PlainValues, RecordDecoder, RegistryValues

AT = datetime(2026, 1, 2, 3, 4, 5, 0, UTC)
USER = {"type": "record", "name": "User", "fields": [{"name": "name", "type": "string"}]}
FIELDS = [
    {"name": "id", "type": "long"},
    {"name": "user", "type": USER},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "tags", "type": {"type": "map", "values": "string"}},
    {"name": "text", "type": ["null", "string"], "default": None},
]
PAID = {"type": "record", "name": "Paid", "fields": FIELDS}
NEWER = {**PAID, "fields": [*FIELDS, {"name": "more", "type": "int", "default": 0}]}
WIDER = {**PAID, "fields": [{"name": "id", "type": "double"}, *FIELDS[1:]]}
RECORD = {"id": 1, "user": {"name": "x"}, "at": AT, "tags": {"a": "b"}, "text": "paid"}


class Mock:
    """The client's own registry."""

    def __init__(self):
        self.client = SchemaRegistryClient.new_client({"url": "mock://x"})
        self.registry = Registry(self.client, "mock://x")

    @staticmethod
    def does_not_answer(*_arguments):
        raise RegistryUnavailable("nobody is there")

    def add(self, subject, schema):
        return self.client.register_schema(subject, Sent(json.dumps(schema), "AVRO"))


@pytest.fixture
def mock():
    return Mock()


@pytest.fixture
def followed(encoder):
    return FollowedModel(encoder, "tiny@7", 7, 0.0)


def avro_plan(*outputs, **options):
    avro = {"text": "{user.name} {text}", "input_format": "avro", "schema_registry": "mock://x"}
    return plan_of(*outputs, **{**avro, **options})


def encoded(number, schema, record):
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), record)
    return header(number) + stream.getvalue()


def maker_of(chosen, mock, sample=()):
    schemas = Schemas(chosen, mock.registry)
    columns = output_schema(chosen, schemas.fields(sample, ["in"])) if chosen.needs_columns else None
    values = RegistryValues(chosen, columns, schemas.decoder(columns))
    return RecordDecoder(chosen, columns, values), schemas.messages(columns, ())


@pytest.mark.parametrize("outputs", [["topic:a"], ["parquet:x"], ["topic:a", "parquet:x"]])
def test_bad_values_leave_and_the_others_keep_their_vectors(outputs, mock, followed, encoder):
    number = mock.add("in-value", PAID)
    good = encoded(number, PAID, RECORD)
    empty = encoded(number, PAID, {**RECORD, "user": {"name": "y"}, "text": None})
    values = [good, b"oops", header(9) + b"x", empty, None, good[:-1]]
    make, _ = maker_of(avro_plan(*outputs), mock, values)
    made = make(values, followed)
    assert made.rows.tolist() == [0, 3]
    assert {letter.row: letter.stage for letter in made.letters} == dict.fromkeys(
        [1, 2, 4, 5], "VALUE_CONVERTER"
    )
    assert made.records == [RECORD, {**RECORD, "user": {"name": "y"}, "text": None}]
    assert made.values == [good, empty]
    vectors = made.batch["embedding"].flatten().to_numpy().reshape(2, -1)
    assert np.array_equal(vectors, encoder.encode(["x paid", "y "]))
    if outputs[-1] == "parquet:x":
        row = made.batch.drop_columns(["embedding"]).to_pylist(maps_as_pydicts="strict")[0]
        assert row == {**RECORD, "model_version": "tiny@7"}


@pytest.mark.parametrize(("kind", "fields"), [("json", None), ("json", "id"), ("msgpack", None)])
def test_a_number_that_json_does_not_have_is_a_letter(kind, fields, mock, followed):
    measured = {**PAID, "fields": [*FIELDS, {"name": "x", "type": {"type": "array", "items": "double"}}]}
    number = mock.add("in-value", measured)
    values = [
        encoded(number, measured, {**RECORD, "x": [0.5, x]}) for x in (1.0, float("nan"), float("-inf"))
    ]
    make, _ = maker_of(avro_plan("topic:a", format=kind, fields=fields), mock)
    made = make(values, followed)
    if kind == "msgpack" or fields:
        assert not made.letters
        return
    assert made.rows.tolist() == [0]
    assert [letter.reason.split(":")[0] for letter in made.letters] == [
        "field 'x' is nan, which JSON does not have", "field 'x' is -inf, which JSON does not have"
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["json", "msgpack"])
def test_records_become_messages(kind, mock, followed):
    make, _ = maker_of(avro_plan("topic:a", vectors="binary", dtype="int8"), mock)
    made = make([encoded(mock.add("in-value", PAID), PAID, RECORD)], followed)
    [message] = record_encoder(kind, None)(made.records, made.batch["embedding"], made.label)
    found = (msgspec.json if kind == "json" else msgspec.msgpack).decode(message)
    vector = made.batch["embedding"][0].as_py()
    assert found == {
        **RECORD,
        "at": "2026-01-02T03:04:05Z" if kind == "json" else AT,
        "embedding": base64.b64encode(vector).decode() if kind == "json" else vector,
        "model_version": "tiny@7",
    }


@pytest.mark.parametrize("template", ["{text}", "{tags.a} {at} {user}", "user.name"])
def test_a_text_is_the_same_for_every_output(template, mock, followed, encoder):
    value = encoded(mock.add("in-value", PAID), PAID, RECORD)
    text = {"{text}": "paid", "user.name": "x"}.get(template, 'b 2026-01-02T03:04:05Z {"name":"x"}')
    for output in ("topic:a", "parquet:x"):
        make, _ = maker_of(avro_plan(output, text=template), mock, [value])
        vector = make([value], followed).batch["embedding"].flatten().to_numpy()
        assert np.array_equal(vector, encoder.encode([text])[0])


def test_a_record_without_a_text_is_a_letter(mock, followed):
    number = mock.add("in-value", PAID)
    make, _ = maker_of(avro_plan("topic:a", text="text"), mock)
    made = make([encoded(number, PAID, {**RECORD, "text": None}), encoded(number, PAID, RECORD)], followed)
    assert made.rows.tolist() == [1]
    assert (made.letters[0].row, made.letters[0].stage) == (0, "TRANSFORMATION")


def test_columns_come_from_the_newest_schema_of_a_sample_or_else_from_the_subject(mock):
    older, newer = mock.add("other", PAID), mock.add("other", NEWER)
    schemas = Schemas(avro_plan("parquet:x"), mock.registry)
    sample = [encoded(older, PAID, RECORD), encoded(newer, NEWER, {**RECORD, "more": 1}), b"oops", None]
    assert list(schemas.fields(sample, ["in"])) == ["id", "user", "at", "tags", "text", "more"]
    assert schemas.fields([], ["in"]) == {}
    mock.add("in-value", PAID)
    assert list(schemas.fields([], ["in"])) == ["id", "user", "at", "tags", "text"]


def test_records_of_older_and_newer_schemas_fill_the_same_columns(mock, followed):
    number, newer, wider = mock.add("a", PAID), mock.add("a", NEWER), mock.add("a", WIDER)
    values = [
        encoded(newer, NEWER, {**RECORD, "more": 1}),
        encoded(number, PAID, RECORD),
        encoded(wider, WIDER, {**RECORD, "id": 1.5}),
    ]
    make, _ = maker_of(avro_plan("parquet:x"), mock, values[:2])
    made = make(values, followed)
    assert made.batch["more"].to_pylist() == [1, None]
    assert [(one.row, one.reason) for one in made.letters] == [
        (2, f"schema {wider}: field 'id' is double, and int64 in the column")
    ]


def test_what_does_not_fit_a_column_leaves_all_outputs(mock, followed):
    number = mock.add("a", PAID)
    other = {**PAID, "fields": [{"name": "id", "type": "string"}, *FIELDS[1:]]}
    changed = mock.add("a", other)
    values = [encoded(changed, other, {**RECORD, "id": "one"}), encoded(number, PAID, RECORD)]
    make, _ = maker_of(avro_plan("topic:a", "parquet:x"), mock, values[1:])
    made = make(values, followed)
    assert made.rows.tolist() == [1]
    assert len(made.records) == made.batch.num_rows == 1
    assert made.letters[0].reason.startswith("field 'id' is not int64")


def test_a_registry_that_does_not_answer_blames_no_value(mock, followed, monkeypatch):
    number = mock.add("a", PAID)
    make, _ = maker_of(avro_plan("topic:a"), mock)
    value = encoded(number, PAID, RECORD)

    def away(*_arguments, **_options):
        raise ConnectionError("reset")

    with monkeypatch.context() as patch:
        patch.setattr(mock.client, "get_schema", away)
        with pytest.raises(RegistryUnavailable, match="does not answer: reset"):
            make([b"oops", value], followed)
    assert make([value], followed).rows.tolist() == [0]


def read(mock, value):
    schema = json.loads(mock.client.get_schema(schema_id(value)).schema_str)
    stream = io.BytesIO(value)
    stream.seek(HEADER)
    record = fastavro.schemaless_reader(stream, fastavro.parse_schema(schema), None)
    assert stream.tell() == len(value)
    return record


@pytest.mark.parametrize("fields", [None, "id", "text,user", "tags,none", ""])
def test_avro_to_avro_keeps_the_bytes_of_fields(fields, mock, followed):
    number, newer = mock.add("in-value", PAID), mock.add("in-value", NEWER)
    values = [encoded(number, PAID, RECORD), encoded(newer, NEWER, {**RECORD, "more": 5})] * 2
    chosen = avro_plan("topic:a", format="avro", fields=fields, vectors="binary", dtype="float16")
    make, messages = maker_of(chosen, mock)
    made = make(values, followed)
    sent = messages(made)
    for message, vector, record in zip(
        sent, made.batch["embedding"].to_pylist(), [RECORD, {**RECORD, "more": 5}] * 2, strict=True
    ):
        kept = {name: value for name, value in record.items() if fields is None or name in fields.split(",")}
        assert read(mock, message) == {**kept, "embedding": vector, "model_version": "tiny@7"}
    ids = [schema_id(message) for message in sent]
    assert ids[:2] == ids[2:]
    assert len(mock.client.get_versions("a-value")) == len(set(ids))


def test_json_to_avro(mock, followed):
    chosen = avro_plan("topic:1.pay-ments", input_format="json", format="avro", text="text")
    values = [
        b'{"id":1,"text":"a","user":{"name":"x"},"tags":["y"]}',
        b'{"id":2,"text":"b","more":0.5}',
        b"oops",
    ]
    columns = output_schema(chosen, fields_seen(chosen, values))
    messages = Schemas(chosen, mock.registry).messages(columns, ())
    assert messages.preview() == [("1.pay-ments-value", "to be registered")]
    assert mock.client.get_subjects() == []
    made = RecordDecoder(chosen, columns, PlainValues(chosen, columns))(values, followed)
    found = [read(mock, one) for one in messages(made)]
    vectors = made.batch["embedding"].to_pylist()
    added = [{"embedding": vector, "model_version": "tiny@7"} for vector in vectors]
    assert found == [
        {"id": 1, "text": "a", "user": {"name": "x"}, "tags": ["y"], "more": None, **added[0]},
        {"id": 2, "text": "b", "user": None, "tags": None, "more": 0.5, **added[1]},
    ]
    assert messages.preview() == [("1.pay-ments-value", f"id {schema_id(messages(made)[0])}")]


def test_a_model_with_other_heads_waits_for_the_schema_of_its_messages(mock, followed, headed, monkeypatch):
    chosen = avro_plan("topic:a", input_format="json", format="avro", text="text")
    values = [b'{"id":1,"text":"a"}']
    columns = output_schema(chosen, fields_seen(chosen, values))
    messages, maker = (
        Schemas(chosen, mock.registry).messages(columns, ()),
        RecordDecoder(chosen, columns, PlainValues(chosen, columns)),
    )
    [before] = messages(maker(values, followed))
    made = maker(values, FollowedModel(Encoder.load(headed("fraud"), threads=1), "tiny@8", 8, 0.0))
    with monkeypatch.context() as away:
        away.setattr(mock.registry, "register", Mock.does_not_answer)
        for _ in range(2):
            with pytest.raises(RegistryUnavailable):
                messages(made)
    [after] = messages(made)
    assert schema_id(before) != schema_id(after)
    assert set(read(mock, after)) == {*read(mock, before), "fraud_label", "fraud_score"}


def test_a_subject_of_another_kind_is_named(mock):
    mock.client.register_schema("in-value", Sent("{}", "JSON"))
    with pytest.raises(ConfigurationError, match=r"'in-value' .* is JSON, not AVRO: correct --input-format"):
        Schemas(avro_plan("topic:a"), mock.registry).known(["in"])


def test_what_is_known_of_the_input(mock):
    number = mock.add("in-value", PAID)
    schemas = Schemas(avro_plan("topic:a"), mock.registry)
    assert [one.about for one in schemas.known(["in", "other"])] == [
        f"subject in-value, version 1, id {number}"
    ]
    sample = [header(number) + b"x", header(99), b"oops", None]
    assert [one.about for one in schemas.of_sample(sample)] == [f"id {number}"]
