"""Pub/Sub in and out over the wire: by a small server of our own, and by Google's emulator where it is."""

import json
import signal
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from google.cloud import pubsub
from patience import PATIENCE, wait_for
from pubsubs import emulator, emulator_jar, own_server
from topics import unique

from pipelines.beam.streaming.plan import plan_stream
from pipelines.beam.streaming.sink_options import SinkOptions
from pipelines.beam.streaming.sinks.pubsub import _Publish
from pipelines.beam.streaming.sinks.pubsub_letters import dead_letter
from pipelines.beam.streaming.source_options import SourceOptions, Timing
from pipelines.enrich.enrichment import Enrichment
from pipelines.records.bad_rows import BadRow, Envelope

N = 40
PROJECT = "a-project"
START = 1_705_305_600


@pytest.fixture(scope="session", params=["own server", "Google's emulator"])
def address(request):
    if request.param == "own server":
        with own_server() as address:
            yield address
        return
    jar = emulator_jar()
    if jar is None:
        pytest.skip("Google's emulator is not installed; it comes with Google's command line tools alone")
    with emulator(jar) as address:
        yield address


class Topic:
    """A topic with a subscription, and what comes out of it."""

    def __init__(self, schema=None):
        self._publisher, self._subscriber = pubsub.PublisherClient(), pubsub.SubscriberClient()
        name = unique("topic")
        self.path = self._publisher.topic_path(PROJECT, name)
        self.subscription = self._subscriber.subscription_path(PROJECT, name)
        settings = {"schema": schema, "encoding": "JSON"} if schema else None
        self._publisher.create_topic(request={"name": self.path, "schema_settings": settings})
        self._subscriber.create_subscription(name=self.subscription, topic=self.path)

    def publish(self, data, **attributes):
        return self._publisher.publish(self.path, data, **attributes).result(PATIENCE)

    def read(self, least):
        """At least so many messages, by their ids: `(data, attributes)`."""
        found = {}

        def pull():
            answer = self._subscriber.pull(subscription=self.subscription, max_messages=100, timeout=PATIENCE)
            for one in answer.received_messages:
                found[one.message.message_id] = (one.message.data, dict(one.message.attributes))
            if answer.received_messages:
                acks = [one.ack_id for one in answer.received_messages]
                self._subscriber.acknowledge(subscription=self.subscription, ack_ids=acks)
            return len(found)

        wait_for(pull, f"{least} messages", lambda n: n >= least, pause=0)
        return list(found.values())

    def close(self):
        self._publisher.stop()
        self._publisher.transport.close()
        self._subscriber.close()


@pytest.fixture
def topic(address, monkeypatch):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", address)
    made = []

    def make(schema=None):
        made.append(Topic(schema))
        return made[-1]

    yield make
    for one in made:
        one.close()


def record(i):
    return json.dumps({"id": i, "text": f"login failed {i}", "at": START + i}).encode()


@pytest.fixture
def sample(tmp_path):
    (tmp_path / "sample.jsonl").write_bytes(record(0))
    return tmp_path / "sample.jsonl"


@pytest.fixture
def stream(processes, model, sample, topic):
    """Start a stream on the runner that has Beam's own source of Pub/Sub, until the test is over."""
    del topic  # but for the address of the server

    def start(*arguments):
        runner = ("--", "--runner=BundleBasedDirectRunner")
        return processes("stream", "--model", model, "--sample", sample, *arguments, *runner)

    return start


def test_messages_of_untimely_times_are_dead_letters(sample):
    options = SourceOptions("pubsub:projects/p/subscriptions/s", sample=str(sample))
    source = options.source(("text",), None, Timing(), None)
    message = PubsubMessage(record(0), {})
    ahead, early = round((time.time() + 3600) * 1e6), MIN_TIMESTAMP.micros
    found = source.batch([(message, t) for t in (START * 10**6, ahead, early)], "s", [7, 8, 9])
    assert found.rows.tolist() == [7]
    assert found.latest == START * 10**6
    assert found.ingestion_time < ahead
    assert [(bad.row, bad.reason[:14], bad.record) for bad in found.bad] == [
        (8, "the event time", record(0)),
        (9, "the event time", record(0)),
    ]


@pytest.mark.slow
def test_files_are_published_with_ids_and_times(topic, millstream, model, tmp_path, encoder):
    target, letters = topic(), topic()
    lines = [record(i) for i in range(N)]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*lines, b"oops"]))
    own = ("--model", model, "--input", f"files:{tmp_path / 'a.jsonl'}", "--output", f"pubsub:{target.path}")
    more = ("--dead-letters", f"pubsub:{letters.path}", "--event-time", "at", "--stop-at-end")
    ended = millstream("stream", *own, *more)
    assert ended.code == 0, ended.err
    found = [(json.loads(data), about) for data, about in target.read(N)]
    assert sorted(value["id"] for value, _ in found) == list(range(N))
    for value, about in found:
        assert about["millstream_id"] == f"{tmp_path / 'a.jsonl'}:{value['id'] + 1}"
        assert about["millstream_time"].startswith("2024-01-15T08:00:")
    vectors = np.float32([value["embedding"] for value, _ in found])
    assert np.array_equal(vectors, encoder.encode([value["text"] for value, _ in found]))
    [(data, about)] = letters.read(1)
    assert data == b"oops"
    assert "not JSON" in about["__connect.errors.exception.message"]


VECTOR_SCHEMA = {
    "type": "record",
    "name": "Vector",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "text", "type": "string"},
        {"name": "embedding", "type": {"type": "array", "items": "double"}},
        {"name": "model_version", "type": "string"},
    ],
}


def send_all(model, folder, target, dead_letters):
    """Read files and publish what they hold."""
    job = plan_stream(
        model=str(model),
        source=SourceOptions(f"files:{folder}"),
        sink=SinkOptions(f"pubsub:{target.path}", dead_letters),
        enrichment=Enrichment.parse("text", keep=("id", "text")),
        timing=Timing(ends=True),
    )
    send = _Publish(job.sink)
    send.setup()
    send.start_bundle()
    for part in job.source.split(1):
        reader = part.create_reader(None, None)
        while reader.advance():
            list(send.process(reader.get_current()))
    send.finish_bundle()
    send.teardown()


@pytest.mark.slow
def test_messages_that_the_topics_schema_refuses_are_dead_letters_and_the_others_are_there(
    topic, model, tmp_path
):
    (tmp_path / "in").mkdir()
    client = pubsub.SchemaServiceClient()
    schema = client.create_schema(
        request={
            "parent": f"projects/{PROJECT}",
            "schema": {"type_": "AVRO", "definition": json.dumps(VECTOR_SCHEMA)},
            "schema_id": unique("schema"),
        }
    )
    client.transport.close()
    target, dead = topic(schema.name), topic()
    records = [{"id": None if i in (7, 30) else i, "text": f"login failed {i}"} for i in range(N)]
    (tmp_path / "in/a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    send_all(model, tmp_path / "in", target, f"pubsub:{dead.path}")
    found = {json.loads(data)["id"] for data, _ in target.read(N - 2)}
    assert found == {one["id"] for one in records} - {None}
    refused = dead.read(2)
    assert {json.loads(data)["text"] for data, _ in refused} == {"login failed 7", "login failed 30"}
    reasons = {about["__connect.errors.exception.message"] for _, about in refused}
    assert all(reason.startswith("Pub/Sub refuses the message: ") for reason in reasons)


@pytest.mark.slow
def test_a_name_that_no_attribute_takes_makes_dead_letters(topic, model, tmp_path):
    folder = tmp_path.joinpath("in", *["x" * 200] * 6)
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(record(1))
    target, dead = topic(), topic()
    send_all(model, f"{tmp_path / 'in'}/**/*.jsonl", target, f"pubsub:{dead.path}")
    [(data, about)] = dead.read(1)
    assert json.loads(data)["text"] == "login failed 1"
    assert "an attribute in Pub/Sub takes 1,024" in about["__connect.errors.exception.message"]


def test_dead_letters_are_such_as_the_service_takes(topic):
    dead = topic()
    headers = [
        ("goog-name", b"1"),
        ("n" * 257, b"2"),
        ("twice", b"3"),
        ("twice", b"4"),
        ("long", b"\xff" * 2000),
        *((f"h{i}", b"v" * 1024) for i in range(200)),
    ]
    bad = BadRow("in/0", 7, "not JSON", b"x" * 11_000_000, Envelope(b"key", tuple(headers), 5))
    made = dead_letter(bad)
    assert dead.publish(made.data, **made.attributes)
    data, about = made.data, made.attributes
    assert len(data) == 9_800_000
    assert about["__connect.errors.value.cut"] == "the first 9,800,000 of 11,000,000 bytes"
    assert about["__connect.errors.headers.omitted"].endswith("of 205, wholly or in part")
    assert (about["twice"], about["h0"], about["millstream_key"], len(about)) == ("3", "v" * 1024, "key", 100)


@pytest.mark.slow
def test_messages_become_messages(topic, stream, encoder, tmp_path, letters):
    source, target = topic(), topic()
    job = stream(
        *("--input", f"pubsub:{source.subscription}", "--attributes", "region"),
        *("--output", f"pubsub:{target.path}", "--dead-letters", f"files:{tmp_path / 'bad'}"),
        *("--keep", "id,text,region"),
    )
    sent = {source.publish(record(i), region="tokyo"): i for i in range(N)}
    source.publish(b"oops", region="lisbon")
    source.publish(b'{"id": 99}', region="lisbon")
    found = [(json.loads(data), about) for data, about in target.read(N)]
    assert sorted(value["id"] for value, _ in found) == list(range(N))
    assert {value["region"] for value, _ in found} == {"tokyo"}
    vectors = np.float32([value["embedding"] for value, _ in found])
    assert np.array_equal(vectors, encoder.encode([value["text"] for value, _ in found]))
    for value, about in found:
        assert sent[about["millstream_id"].rpartition(":")[2]] == value["id"]
    bad = lambda: letters(tmp_path / "bad") if (tmp_path / "bad").is_dir() else []
    wait_for(bad, "two dead letters", lambda found: len(found) == 2, process=job)
    assert {one["reason"].partition(":")[0] for one in letters(tmp_path / "bad")} == {
        "not JSON",
        "the text is null",
    }
    job.send_signal(signal.SIGINT)
    job.communicate(timeout=PATIENCE)
    assert job.returncode == 130


@pytest.mark.slow
def test_messages_become_windows_and_equal_ids_are_one_row(topic, stream, tmp_path):
    source = topic()
    output = tmp_path / "out"
    job = stream(
        *("--input", f"pubsub:{source.subscription}", "--output", f"parquet:{output}"),
        *("--time-attribute", "happened", "--id-attribute", "event", "--window", "10s", "--lateness", "7d"),
    )
    begin = int(time.time()) // 10 * 10 - 600
    for _ in range(2):  # a publisher that did not hear of its success
        for i in range(N):
            source.publish(record(i), event=f"event-{i}", happened=str((begin + i) * 1000))

    def rows():
        tables = [pq.read_table(path, columns=["id"]) for path in sorted(output.glob("*.parquet"))]
        return [i for table in tables for i in table["id"].to_pylist()]

    wait_for(lambda: sorted(set(rows())), "all rows", lambda ids: ids == list(range(N)), process=job)
    job.send_signal(signal.SIGINT)
    job.communicate(timeout=PATIENCE)
    assert sorted(rows()) == list(range(N))
    assert len(list(output.glob("*.parquet"))) == N // 10
