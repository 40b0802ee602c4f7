"""The schema registry: over HTTP from a server of the tests, and the client's own `mock://`."""

import json
import socket
import subprocess
import sys

import pytest
from confluent_kafka.schema_registry import Schema as Sent
from confluent_kafka.schema_registry import SchemaReference, SchemaRegistryClient
from registry import schema_registry

from encoder.errors import ConfigurationError, MillstreamError, RegistryUnavailable
from pipelines.formats.avro.reader import AvroReader
from pipelines.formats.protobuf.reader import ProtobufReader
from pipelines.formats.schema_registry import FramedDecoder, Schema, header
from pipelines.kafka.registry import Registry, is_missing, open_registry, refusal, shown_url

RECORD = {"type": "record", "name": "R", "fields": [{"name": "id", "type": "int"}]}
USER = {"type": "record", "name": "User", "fields": [{"name": "name", "type": "string"}]}
PROTO = 'syntax = "proto3"; message M { string a = 1; }'


def of(schema, references=()):
    return Schema("AVRO", json.dumps(schema), tuple(references))


def with_field(schema, **field):
    return {**schema, "fields": [*schema["fields"], field]}


@pytest.fixture
def server():
    with schema_registry() as served:
        yield served


@pytest.fixture(params=["http", "mock"])
def both(request, server):
    """A registry, and what puts a schema into it."""
    if request.param == "http":
        return open_registry(server.url, {}), server.add
    client = SchemaRegistryClient.new_client({"url": "mock://test"})
    return Registry(client, "mock://test"), lambda subject, schema: client.register_schema(
        subject, Sent(json.dumps(schema), "AVRO")
    )


def test_a_schema_by_its_id(both):
    registry, add = both
    number = add("in-value", RECORD)
    assert registry.schema(number) == of(RECORD)
    assert registry.schema(number + 7) is None


def test_the_latest_of_a_subject(both):
    registry, add = both
    assert registry.latest("in-value") is None
    add("in-value", RECORD)
    newer = with_field(RECORD, name="x", type="int", default=0)
    number = add("in-value", newer)
    assert registry.latest("in-value") == (number, 2, of(newer))
    add("in-value", with_field(newer, name="y", type="int", default=0))
    assert registry.latest("in-value").number == 3


def test_a_schema_of_ours_is_registered_once(both):
    registry, _ = both
    assert registry.registered("out-value", of(RECORD)) is None
    assert registry.fits("out-value", of(RECORD))
    assert registry.registered("out-value", of(RECORD)) is None
    number = registry.register("out-value", of(RECORD))
    assert registry.register("out-value", of(RECORD)) == number
    assert registry.registered("out-value", of(RECORD)) == number


def test_a_schema_is_fetched_once_and_an_unknown_id_not_at_once_again(server):
    times = [100.0]
    client = SchemaRegistryClient.new_client({"url": server.url})
    registry = Registry(client, server.url, clock=lambda: times[0])
    number = server.add("in-value", RECORD)
    for _ in range(5):
        assert registry.schema(number) is not None
        assert registry.schema(9) is None
    assert (server.count(f"/schemas/ids/{number}"), server.count("/schemas/ids/9")) == (1, 1)
    times[0] += 11
    for _ in range(8):
        server.add("in-value", with_field(RECORD, name=f"f{_}", type="int"))
    assert registry.schema(9) is not None


def test_references_come_with_a_schema(server):
    server.add("user-value", USER)
    team = {"type": "record", "name": "Team", "fields": [{"name": "lead", "type": "User"}]}
    user = {"name": "User", "subject": "user-value", "version": 1}
    server.add("team-value", team, references=[user])
    whole = {"type": "record", "name": "All", "fields": [{"name": "team", "type": "Team"}]}
    number = server.add(
        "in-value", whole, references=[{"name": "Team", "subject": "team-value", "version": 1}]
    )
    found = open_registry(server.url, {}).schema(number)
    assert list(found.parts) == ["User", "Team"]
    assert found.references == (SchemaReference("Team", "team-value", 1),)


def test_a_reference_that_is_gone_is_no_fault_of_the_records(server):
    number = server.add(
        "in-value", RECORD, references=[{"name": "User", "subject": "user-value", "version": 1}]
    )
    with pytest.raises(RegistryUnavailable, match=r"refers to version 1 of 'user-value'"):
        open_registry(server.url, {}).schema(number)


def test_what_a_schema_of_json_refers_to_is_not_missed(server):
    """Its records are dead letters, as no schema of JSON is read: they must not stop the others."""
    other = [{"name": "user.json", "subject": "user-value", "version": 1}]
    number = server.add("in-value", '{"type": "object"}', "JSON", references=other)
    decode = FramedDecoder("AVRO", open_registry(server.url, {}).schema, AvroReader)
    assert decode([header(number) + b"{}"]).bad == {0: f"schema {number}: it is JSON, not AVRO"}


@pytest.mark.parametrize("serialized", [True, False])
def test_protobuf_from_registries_that_serialize_and_from_others(serialized, server):
    server.serialized = serialized
    server.add("user", 'syntax = "proto3"; package p; message User { string name = 1; }', "PROTOBUF")
    text = 'syntax = "proto3"; import "p/user.proto"; message M { p.User user = 1; }'
    number = server.add(
        "in-value", text, "PROTOBUF", [{"name": "p/user.proto", "subject": "user", "version": 1}]
    )
    schema = open_registry(server.url, {}, serialized=True).schema(number)
    assert ("syntax" in schema.text) is not serialized
    assert list(ProtobufReader(schema).fields(None)) == ["user"]


def test_user_and_password(server):
    server.user = "me:hunter2"
    server.add("in-value", RECORD)
    with pytest.raises(ConfigurationError, match=r"does not know this user \(401\)"):
        open_registry(server.url, {}).latest("in-value")
    own = {"schema.registry.basic.auth.user.info": "me:hunter2", "sasl.password": "x"}
    assert open_registry(server.url, own).latest("in-value").number == 1
    with_them = server.url.replace("http://", "http://me:hunter2@")
    registry = open_registry(with_them, {})
    assert registry.latest("in-value").number == 1
    assert registry.url == server.url


def test_a_registry_that_may_only_be_read(server):
    server.read_only = True
    registry = open_registry(server.url, {})
    with pytest.raises(
        ConfigurationError, match=r"does not let this user register a schema for 'out-value' \(403\)"
    ):
        registry.register("out-value", of(RECORD))
    server.add("out-value", RECORD)
    assert registry.register("out-value", of(RECORD)) == 1


def test_a_schema_that_does_not_go_with_the_others(server):
    registry = open_registry(server.url, {})
    server.add("out-value", RECORD)
    other = of(with_field(RECORD, name="x", type="int"))
    assert not registry.fits("out-value", other)
    with pytest.raises(ConfigurationError, match=r"refuses the schema for 'out-value' .*incompatible"):
        registry.register("out-value", other)


QUESTIONS = {
    "schema": lambda registry: registry.schema(1),
    "latest": lambda registry: registry.latest("in-value"),
    "registered": lambda registry: registry.registered("in-value", of(RECORD)),
    "fits": lambda registry: registry.fits("in-value", of(RECORD)),
    "register": lambda registry: registry.register("in-value", of(with_field(RECORD, name="x", type="int"))),
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("status", [500, 503, 429, 400])
def test_a_registry_out_of_order_says_nothing_of_a_schema(status, question, server):
    server.add("in-value", RECORD)
    server.status = status
    with pytest.raises(RegistryUnavailable):
        QUESTIONS[question](open_registry(server.url, {}))


@pytest.mark.parametrize("question", ["schema", "latest"])
def test_a_page_that_is_not_found_is_no_answer(question, server):
    server.page = b"<html>nginx</html>"
    with pytest.raises(RegistryUnavailable, match=r"is this the URL of a schema registry\?"):
        QUESTIONS[question](open_registry(server.url, {}))


def test_a_slow_registry(server):
    server.delay = 2.0
    with pytest.raises(RegistryUnavailable, match="does not answer"):
        open_registry(server.url, {"schema.registry.timeout": "0.2"}).schema(1)


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(RegistryUnavailable, match=f"http://127.0.0.1:{port} does not answer"):
        open_registry(f"http://me:hunter2@127.0.0.1:{port}", {}).schema(1)


@pytest.mark.parametrize(
    ("url", "properties", "says"),
    [
        ("ftp://me:hunter2@x", {}, "cannot use the schema registry"),
        ("http://x", {"schema.registry.no.such": "hunter2"}, "Unrecognized properties: no.such"),
        ("http://x", {"schema.registry.basic.auth.user.info": "hunter2"}, "must be in the form"),
        ("http://x", {"schema.registry.timeout": "soon"}, "write a number"),
        ("http://x", {"schema.registry.ssl.ca.location": "/gone"}, "cannot use the schema registry"),
    ],
)
def test_settings_that_the_client_does_not_take(url, properties, says):
    with pytest.raises(ConfigurationError, match=says) as caught:
        open_registry(url, properties)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_no_message_shows_a_password(status, server):
    server.status = status
    url = server.url.replace("http://", "http://me:hunter2@")
    for ask in QUESTIONS.values():
        with pytest.raises(MillstreamError) as caught:
            ask(open_registry(url, {}))
        assert "hunter2" not in str(caught.value)
        assert caught.value.__suppress_context__


BLOCK = "import sys; sys.modules.update(dict.fromkeys({names}, None)); "
MISSING = {
    "the registry's client": (
        ["authlib"],
        "from pipelines.kafka.registry import open_registry; open_registry('http://x', {})",
    ),
    "fastavro": (["fastavro"], "settings(input_format='avro')"),
    "Protobuf": (["google.protobuf"], "settings(input_format='protobuf')"),
    "Avro out": (["fastavro"], "settings(input_format='json', format='avro').messages(None, ())"),
}
SETTINGS = """
from pipelines.worker.configuration.schemas import Schemas
from pipelines.worker.configuration.plan import Plan
from pipelines.worker.configuration.settings import WorkerSettings
def settings(**options):
    return Schemas(Plan.parse(WorkerSettings(
        brokers='b:1', group='g', inputs=['in'], model='m', outputs=['topic:a'], dead_letters='topic:b',
        schema_registry='mock://x', **options)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", MISSING)
def test_the_extra_that_is_missing_is_named(what):
    names, program = MISSING[what]
    blocked = BLOCK.format(names=names) + "import pipelines.worker.build"
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}\n{SETTINGS}\n{program}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "MissingExtra" in done.stderr
    assert "is not installed: pip install 'millstream[kafka-schemas]'" in done.stderr


URL = "http://registry:8081"


class Answer(Exception):
    def __init__(self, status, code=None, message="no"):
        super().__init__(status)
        self.http_status_code, self.error_code, self.error_message = status, code, message


def test_urls_for_people():
    assert shown_url("http://u:p@a:1/x, https://b") == "http://a:1/x,https://b"


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (Answer(404, 40403), True),
        (Answer(404, 404), False),  # of a proxy
        (Answer(500, 40403), False),
        (OSError("refused"), False),
    ],
)
def test_only_the_registry_itself_says_that_something_is_missing(error, missing):
    assert is_missing(error) is missing


@pytest.mark.parametrize(
    ("error", "subject", "kind", "says"),
    [
        (Answer(401), None, ConfigurationError, "does not know this user"),
        (Answer(403), None, ConfigurationError, "let this user read schemas"),
        (Answer(403), "out-value", ConfigurationError, "register a schema for 'out-value'"),
        (Answer(409), "out-value", ConfigurationError, "change the subject's compatibility"),
        (Answer(422), None, RegistryUnavailable, "is this the URL"),
        (Answer(404), None, RegistryUnavailable, "is this the URL"),
        (Answer(429), None, RegistryUnavailable, "does not answer"),
        (Answer(503), "out-value", RegistryUnavailable, "does not answer: no"),
        (TimeoutError(), None, RegistryUnavailable, "TimeoutError"),
    ],
)
def test_what_an_answer_means(error, subject, kind, says):
    found = refusal(error, URL, subject)
    assert type(found) is kind
    assert says in str(found)
    assert URL in str(found)
