"""Avro and Protobuf on a real broker, with a registry that speaks the REST API."""

import io
import json
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf.message_factory import GetMessageClass
from patience import wait_for
from plans import plan_of
from registry import schema_registry
from topics import values_of

from encoder import Encoder
from encoder.errors import ConfigurationError, RegistryUnavailable
from encoder.store.store import ModelStore
from pipelines.enrich.columns import score_columns
from pipelines.formats.protobuf.schema import message_type, schema_file
from pipelines.formats.schema_registry import HEADER, Schema, header, schema_id
from pipelines.worker.prepare import check

pytestmark = pytest.mark.server
N = 300
NAMED = {"type": "record", "name": "User", "fields": [{"name": "name", "type": "string"}]}
PAID = {
    "type": "record",
    "name": "Paid",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "user", "type": NAMED},
        {"name": "reason", "type": ["null", "string"], "default": None},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["CARD", "CASH"]}},
        {"name": "order", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "tags", "type": {"type": "map", "values": "int"}},
        {"name": "friends", "type": {"type": "array", "items": "User"}},
    ],
}  # fmt: skip
PROTO = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "shop/user.proto";
message Other { string x = 1; }
message Paid {
  enum Kind { CARD = 0; CASH = 1; }
  int64 id = 1;
  User user = 2;
  optional string reason = 3;
  google.protobuf.Timestamp at = 4;
  Kind kind = 5;
  map<string, int32> tags = 6;
  repeated User friends = 7;
}
"""
USER = 'syntax = "proto3"; package shop; message User { string name = 1; }'


def paid(i):
    return {
        "id": i,
        "user": {"name": f"user {i % 5}"},
        "reason": f"login failed {i}",
        "at": datetime(2026, 1, 1, 12, 0, i % 60, 250_000, UTC),
        "amount": Decimal(i) / 100,
        "kind": ("CARD", "CASH")[i % 2],
        "order": f"00000000-0000-0000-0000-{i:012d}",
        "tags": {"a": i},
        "friends": [{"name": "x"}, {"name": "y"}],
    }


def avro(number, schema, record):
    stream = io.BytesIO(header(number))
    stream.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), record)
    return stream.getvalue()


def read_avro(registry, value):
    stream = io.BytesIO(value)
    stream.seek(HEADER)
    record = fastavro.schemaless_reader(
        stream, fastavro.parse_schema(registry.schema(schema_id(value))), None
    )
    assert stream.tell() == len(value)
    return record


def avro_messages(number, n=N, first=0):
    return [
        (str(i % 7), avro(number, PAID, paid(i)), [("trace", b"%d" % i)]) for i in range(first, first + n)
    ]


def among(messages, poison):
    """Messages with bad ones among them."""
    messages = list(messages)
    for place, value in enumerate(poison):
        messages.insert(place * 50, ("bad", value, [("h", b"x")]))
    return messages


def assert_letters(letters, poison):
    """Each bad value once, as it came, with the reason."""
    assert sorted(map(repr, poison)) == sorted(repr(message.value()) for message in letters)
    for message in letters:
        headers = dict(message.headers())
        assert (message.key(), headers["h"]) == (b"bad", b"x")
        assert headers["__connect.errors.stage"] == b"VALUE_CONVERTER"
        assert poison[message.value()] in headers["__connect.errors.exception.message"].decode()


@pytest.fixture
def registry():
    with schema_registry() as served:
        yield served


def options(registry, **more):
    return {
        "text": "{user.name}: {reason}",
        "input_format": "avro",
        "schema_registry": registry.url,
        "max_dead_letters": "1.0",
        **more,
    }


@pytest.mark.parametrize("layout", ["list", "binary"])
def test_avro_in_avro_out(layout, topics, worker, registry, encoder):
    number = registry.add(f"{topics.input}-value", PAID)
    messages = avro_messages(number)
    poison = {
        b"": "begin with a schema id",
        header(999) + b"x": "no schema 999",
        messages[3][1][:-2]: f"not of schema {number}",
        messages[4][1] + b"!": "1 bytes are left over",
    }
    topics.write(among(messages, poison))
    with worker(format="avro", vectors=layout, **options(registry)):
        topics.read(least=N)
        topics.read_dead(least=len(poison))
    found, dead = topics.read(), topics.read_dead()
    records = {record["id"]: record for record in (read_avro(registry, m.value()) for m in found)}
    assert sorted(records) == list(range(N))
    for message in found:
        record = read_avro(registry, message.value())
        i = record["id"]
        assert (message.key(), message.headers()) == (str(i % 7).encode(), [("trace", b"%d" % i)])
        assert {**paid(i), "order": record["order"]} == {name: record[name] for name in paid(i)}
        assert str(record["order"]) == paid(i)["order"]
    texts = [f"user {i % 5}: login failed {i}" for i in range(N)]
    vectors = [records[i]["embedding"] for i in range(N)]
    if layout == "binary":
        vectors = [np.frombuffer(vector, np.float32) for vector in vectors]
    assert np.array_equal(np.array(vectors, np.float32), encoder.encode(texts))
    assert all(record["model_version"] for record in records.values())
    assert_letters(dead, poison)
    assert registry.count(f"/schemas/ids/{number}") == 1
    assert registry.count(f"/subjects/{topics.output}-value/versions") == 1


@pytest.mark.parametrize("output", ["avro", "msgpack"])
def test_deletes_need_no_schema(output, topics, worker, registry):
    number = registry.add(f"{topics.input}-value", PAID)
    deletes = [(f"gone {i}", None, [("h", b"x")]) for i in range(3)]
    topics.write([*deletes[:1], *avro_messages(number), *deletes[1:]])
    with worker(format=output, **options(registry, max_dead_letters="0")):
        topics.read(least=N + 3)
    found = topics.read()
    gone = [(one.key().decode(), one.value(), one.headers()) for one in found if one.value() is None]
    assert sorted(gone) == deletes
    assert (len(found), topics.read_dead()) == (N + 3, [])


def test_avro_in_parquet_out(topics, worker, registry, encoder, tmp_path):
    number = registry.add(f"{topics.input}-value", PAID)
    poison = {
        None: "null",
        header(999) + b"x": "no schema 999",
        avro_messages(number)[3][1][:9]: "it ends too early",
    }
    topics.write(among(avro_messages(number), poison))
    with worker([f"parquet:{tmp_path}/out"], seconds_per_file=0.5, **options(registry)):
        topics.read_dead(least=len(poison))
        wait_for(lambda: read_rows(tmp_path / "out"), "all rows", lambda rows: len(rows) == N)
    dead, rows = topics.read_dead(), read_rows(tmp_path / "out")
    assert_letters(dead, poison)
    assert rows.schema.field("amount").type == pa.decimal128(9, 2)
    assert rows.schema.field("at").type == pa.timestamp("ms", "UTC")
    found = {row["id"]: row for row in rows.to_pylist(maps_as_pydicts="strict")}
    vectors = [found[i].pop("embedding") for i in range(N)]
    assert all(record.pop("model_version") for record in found.values())
    assert found == {i: paid(i) for i in range(N)}
    texts = [f"user {i % 5}: login failed {i}" for i in range(N)]
    assert np.array_equal(np.array(vectors, np.float32), encoder.encode(texts))


def read_rows(folder):
    """The rows of a Parquet output; an empty table before there are any."""
    tables = [pq.read_table(path) for path in folder.rglob("*.parquet")]
    return pa.concat_tables(tables) if tables else pa.table({})


@pytest.mark.parametrize("serialized", [True, False])
def test_protobuf_in_json_out(serialized, topics, worker, registry, encoder):
    registry.serialized = serialized
    registry.add("user", USER, "PROTOBUF")
    user = {"name": "shop/user.proto", "subject": "user", "version": 1}
    number = registry.add(f"{topics.input}-value", PROTO, "PROTOBUF", [user])
    file, pool = schema_file(Schema("PROTOBUF", PROTO, (), {"shop/user.proto": USER}))
    kind = GetMessageClass(message_type(file, pool, (1,)))
    messages = []
    for i in range(N):
        made = kind(id=2**60 + i, reason=f"login failed {i}", kind=i % 2, tags={"a": i})
        made.user.name = f"user {i % 5}"
        made.at.FromDatetime(paid(i)["at"])
        made.friends.add().name = "x"
        messages.append((str(i), header(number) + b"\2\2" + made.SerializeToString(), [("trace", b"%d" % i)]))
    poison = {
        header(number) + b"\2\2\xff\xff": f"not of schema {number}",
        header(number) + b"\2\x10": "it has no message [8]",
        header(999) + b"\0": "no schema 999",
    }
    topics.write(among(messages, poison))
    with worker(**options(registry, input_format="protobuf")):
        topics.read(least=N)
        topics.read_dead(least=len(poison))
    found, dead = topics.read(), topics.read_dead()
    assert_letters(dead, poison)
    records = {value["id"] - 2**60: value for value in values_of(found)}
    vectors = [records[i].pop("embedding") for i in range(N)]
    for i, record in records.items():
        assert record.pop("model_version")
        assert record == {
            "id": 2**60 + i,
            "user": {"name": f"user {i % 5}"},
            "reason": f"login failed {i}",
            "at": f"2026-01-01T12:00:{i % 60:02d}.250000Z",
            "kind": ("CARD", "CASH")[i % 2],
            "tags": {"a": i},
            "friends": [{"name": "x"}],
        }
    assert sorted(records) == list(range(N))
    assert {message.key().decode() for message in found} == set(map(str, range(N)))
    texts = [f"user {i % 5}: login failed {i}" for i in range(N)]
    assert np.array_equal(np.array(vectors, np.float32), encoder.encode(texts))


def test_json_in_avro_out(topics, worker, registry):
    topics.write([(str(i), json.dumps({"id": i, "text": f"paid {i}", "more": [i]}), None) for i in range(N)])
    made = options(registry, text="text", input_format="json")
    with worker(format="avro", vectors="binary", dtype="float16", **made):
        topics.read(least=N)
    found = [read_avro(registry, message.value()) for message in topics.read()]
    assert sorted(record["id"] for record in found) == list(range(N))
    for record in found:
        i = record["id"]
        assert (record["text"], record["more"]) == (f"paid {i}", [i])
        assert len(record["embedding"]) % 2 == 0


@pytest.mark.parametrize(
    ("delivery", "how"),
    [("exactly-once", "refused"), ("at-least-once", "out of order"), ("exactly-once", "timed out")],
)
def test_a_registry_that_is_away_for_a_while_loses_nothing(delivery, how, topics, worker, caplog):
    newer = {**PAID, "fields": [*PAID["fields"], {"name": "more", "type": "int", "default": 0}]}
    poison = {header(999) + b"x": "no schema 999", b"oops": "begin with a schema id"}
    with ExitStack() as served:
        registry = served.enter_context(schema_registry())
        older = registry.add(f"{topics.input}-value", PAID)
        topics.write(avro_messages(older))
        with worker(delivery=delivery, **options(registry)) as started:
            assert len(topics.read_values(least=N)) == N
            number = registry.add(f"{topics.input}-value", newer)
            if how == "refused":
                served.close()
            if how == "timed out":
                registry.delay = 8.0
            else:
                registry.status = 503
            later = [(str(i), avro(number, newer, paid(i) | {"more": i}), None) for i in range(N, 2 * N)]
            topics.write(among(later, poison))
            tries = lambda: caplog.text.count("; retrying in 1 s")
            wait_for(tries, "tries to reach the registry", lambda n: n >= (1 if how == "timed out" else 3))
            assert how in caplog.text
            assert len(topics.read_values(least=N)) < 2 * N
            assert {message.value() for message in topics.read_dead()} <= {b"oops"}
            registry.status, registry.delay = None, 0.0
            if how == "refused":
                served.enter_context(schema_registry(int(registry.url.rpartition(":")[2]), registry))
            topics.read(least=2 * N)
            topics.read_dead(least=len(poison))
            assert started.source.positions.owned
        values, dead = topics.read_values(), topics.read_dead()
    ids = [value["id"] for value in values]
    assert sorted(ids if delivery == "exactly-once" else set(ids)) == list(range(2 * N))
    assert_letters(dead, poison)


def avro_plan(topics, model, registry, **more):
    about = {"brokers": topics.broker.address, "group": topics.group, "inputs": [topics.input]}
    told = {**about, "model": str(model), "format": "avro", **options(registry), **more}
    return plan_of(f"topic:{topics.output}", dead_letters=f"topic:{topics.dead}", **told)


def test_check_looks_at_the_registry_and_changes_nothing(topics, model, registry):
    number = registry.add(f"{topics.input}-value", PAID)
    found = check(avro_plan(topics, model, registry))
    assert ("schema registry", registry.url) in found
    assert ("input schema", f"subject {topics.input}-value, version 1, id {number}") in found
    assert ("output schema", f"subject {topics.output}-value, to be registered") in found
    assert registry.subjects() == [f"{topics.input}-value"]
    registry.user = "me:hunter2"
    with pytest.raises(ConfigurationError, match=r"does not know this user \(401\)"):
        check(avro_plan(topics, model, registry))
    own = ["schema.registry.basic.auth.user.info=me:hunter2"]
    rows = check(avro_plan(topics, model, registry, properties=own))
    assert ("property schema.registry.basic.auth.user.info", "(hidden)") in rows
    registry.user, registry.status = None, 503
    with pytest.raises(RegistryUnavailable):
        check(avro_plan(topics, model, registry))


def test_a_schema_that_the_output_does_not_take_ends_the_worker_at_the_start(topics, model, registry, worker):
    number = registry.add(f"{topics.input}-value", PAID)
    other = {"type": "record", "name": "Other", "fields": [{"name": "id", "type": "string"}]}
    registry.add(f"{topics.output}-value", other)
    topics.write(avro_messages(number, 10))
    with pytest.raises(ConfigurationError, match=f"is not compatible with those of '{topics.output}-value'"):
        check(avro_plan(topics, model, registry))
    with (
        pytest.raises(ConfigurationError, match=f"refuses the schema for '{topics.output}-value'"),
        worker(format="avro", **options(registry)),
    ):
        pass
    assert topics.read() == topics.read_dead() == []


def test_schemas_of_a_topic_without_a_subject_are_those_of_its_records(topics, model, registry):
    topics.write(avro_messages(registry.add("shop.Paid", PAID), 10))
    found = check(avro_plan(topics, model, registry))
    assert ("input schema", "id 1") in found
    assert ("output schema", f"subject {topics.output}-value, to be registered") in found


@pytest.mark.parametrize("kind", ["avro", "json"])
def test_scores_of_heads_stand_in_avro_messages(kind, topics, worker, registry, headed, score_names):
    model = headed()
    if kind == "avro":
        topics.write(avro_messages(registry.add(f"{topics.input}-value", PAID)))
    else:
        topics.write([(str(i), json.dumps({"id": i, "reason": f"login failed {i}"}), None) for i in range(N)])
    made = options(registry, text="reason", input_format=kind, model=str(model))
    with worker(format="avro", **made):
        topics.read(least=N)
    found = [read_avro(registry, message.value()) for message in topics.read()]
    encoder = Encoder.load(model)
    found.sort(key=lambda record: record["id"])
    assert [record["id"] for record in found] == list(range(N))
    texts = [f"login failed {i}" for i in range(N)]
    expected = score_columns(encoder.heads, encoder.encode(texts), texts)
    for name, column in zip(score_names, expected, strict=True):
        assert [record[name] for record in found] == column.to_pylist(), name
    assert registry.count(f"/subjects/{topics.output}-value/versions") == 1  # with the scores from the start


def test_a_followed_version_with_other_heads_makes_another_schema(topics, worker, registry, headed, tmp_path):
    store = ModelStore.open((tmp_path / "store/tiny").as_uri())
    store.publish(headed("fraud"))
    number = registry.add(f"{topics.input}-value", PAID)
    followed = {"model": f"{store.uri}@latest", "model_seconds": 0.1}
    topics.write(avro_messages(number))
    with worker(format="avro", **options(registry, **followed)) as started:
        topics.read(least=N)
        store.publish(headed("odd"))
        wait_for(lambda: started.follower.current().version, "version 2", lambda n: n == 2)
        topics.write(avro_messages(number, first=N))
        topics.read(least=2 * N)
    found = [read_avro(registry, message.value()) for message in topics.read()]
    scores = {"tiny@1": {"fraud_label", "fraud_score"}, "tiny@2": {"odd_distance", "odd_novel"}}
    for record in found:
        assert set(record) - {*paid(0), "embedding", "model_version"} == scores[record["model_version"]]
    assert sorted(record["id"] for record in found) == list(range(2 * N))
