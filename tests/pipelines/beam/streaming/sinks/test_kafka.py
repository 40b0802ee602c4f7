"""The output `kafka:TOPIC` on a real broker, in this process; on engines it is tested in `tests/engines`."""

import json

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from patience import wait_for
from topics import read_topic, unique, values_of, write_topic

from encoder.errors import TransientError
from pipelines.beam.streaming.plan import plan_stream
from pipelines.beam.streaming.sink_options import SinkOptions
from pipelines.beam.streaming.sinks.kafka import KafkaSink, KafkaTopic, _Send
from pipelines.beam.streaming.source_options import SourceOptions, Timing
from pipelines.enrich.enrichment import Enrichment

pytestmark = pytest.mark.server

N = 300
START = 1_705_305_600


@pytest.fixture
def topics(kafka):
    """A topic for the input, one for records, one for dead letters."""
    return [kafka.create_topic(unique(name), partitions=2) for name in ("events", "vectors", "letters")]


@pytest.fixture
def events(kafka, topics):
    """Records with keys, and two that are none."""
    records = [{"id": i, "text": f"login failed {i}", "at": START + i} for i in range(N)]
    messages = [(str(one["id"] % 7), json.dumps(one), None) for one in records]
    write_topic(kafka.address, topics[0], [*messages, (None, "oops", None), ("k", '{"id": 5}', None)])
    return [record["text"] for record in records]


@pytest.fixture
def stream(millstream, kafka, topics, model):
    def run(*arguments, letters=None):
        source, target, dead = topics
        letters = letters or f"kafka:{dead}"
        own = ("--model", model, "--input", f"kafka:{source}", "--output", f"kafka:{target}")
        more = ("--brokers", kafka.address, "--dead-letters", letters, "--stop-at-end")
        ended = millstream("stream", *own, *more, *arguments)
        assert ended.code == 0, ended.err

    return run


@pytest.mark.usefixtures("events")
def test_records_are_sent_with_their_keys_and_ids(stream, kafka, topics, encoder):
    stream()
    found = read_topic(kafka.address, topics[1])
    values = values_of(found)
    assert sorted(value["id"] for value in values) == list(range(N))
    vectors = np.float32([value["embedding"] for value in values])
    assert np.array_equal(vectors, encoder.encode([value["text"] for value in values]))
    assert all(one.key().decode() == str(value["id"] % 7) for one, value in zip(found, values, strict=True))
    events = [one for one in read_topic(kafka.address, topics[0]) if b"login" in one.value()]
    sent = {(one.partition(), one.offset()): json.loads(one.value())["id"] for one in events}
    for one, value in zip(found, values, strict=True):
        place, offset = dict(one.headers())["millstream_id"].decode().rsplit(":", 1)
        topic, partition = place.rsplit("/", 1)
        assert topic == topics[0]
        assert sent[int(partition), int(offset)] == value["id"]


@pytest.mark.usefixtures("events")
def test_bad_rows_go_to_a_topic_with_what_is_wrong(stream, kafka, topics):
    stream()
    letters = {one.value(): dict(one.headers()) for one in read_topic(kafka.address, topics[2])}
    assert letters[b"oops"]["__connect.errors.topic"].decode() == topics[0]
    assert b"not JSON" in letters[b"oops"]["__connect.errors.exception.message"]
    [textless] = [about for value, about in letters.items() if value != b"oops"]
    assert textless["__connect.errors.exception.message"] == b"the text is null: text"
    assert len(letters) == 2


@pytest.mark.usefixtures("events")
def test_bad_rows_may_go_to_a_folder(stream, tmp_path, letters):
    stream(letters=f"files:{tmp_path / 'bad'}")
    reasons = sorted(one["reason"].partition(":")[0] for one in letters(tmp_path / "bad"))
    assert reasons == ["not JSON", "the text is null"]


def test_files_may_go_to_a_topic_as_messagepack_or_arrow(millstream, kafka, topics, tmp_path, model, encoder):
    texts = [f"disk full {i}" for i in range(N)]
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(texts)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    own = ("--model", model, "--input", f"files:{tmp_path / 'a.jsonl'}", "--brokers", kafka.address)
    for kind, target in (("msgpack", topics[1]), ("arrow", topics[2])):
        more = ("--output", f"kafka:{target}", "--dead-letters", f"files:{tmp_path}", "--stop-at-end")
        ended = millstream("stream", *own, *more, "--output-format", kind, "--dtype", "float16")
        assert ended.code == 0, ended.err
    records = [msgspec.msgpack.decode(one.value()) for one in read_topic(kafka.address, topics[1])]
    tables = [pa.ipc.open_stream(one.value()).read_all() for one in read_topic(kafka.address, topics[2])]
    assert sorted(one["id"] for one in records) == list(range(N))
    table = pa.concat_tables(tables)
    assert sorted(table["id"].to_pylist()) == list(range(N))
    expected = encoder.encode(texts, dtype="float16")
    vectors = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(N, -1)
    assert np.array_equal(vectors, expected[table["id"].to_pylist()])
    assert {round(one["embedding"][0], 3) for one in records} == {round(float(row[0]), 3) for row in expected}


@pytest.mark.usefixtures("events")
def test_a_bundle_whose_messages_do_not_arrive_fails(kafka, topics, model):
    """The broker's address is good when the job is planned, and leads nowhere when it runs."""
    target, dead = (f"kafka:{name}" for name in topics[1:])
    words = SinkOptions(target, dead, brokers=kafka.address, properties={"message.timeout.ms": "300"})
    source = SourceOptions(f"kafka:{topics[0]}", brokers=kafka.address)
    enrichment, timing = Enrichment.parse("text"), Timing(ends=True)
    job = plan_stream(model=str(model), source=source, sink=words, enrichment=enrichment, timing=timing)
    assert isinstance(job.sink, KafkaSink)
    assert isinstance(job.sink.topic, KafkaTopic)
    job.sink.properties["bootstrap.servers"] = "127.0.0.1:1"
    send = _Send(job.sink)
    send.setup()
    send.start_bundle()
    reader = job.source.split(1)[0].create_reader(None, None)
    wait_for(reader.advance, "a batch", pause=0)
    list(send.process(reader.get_current()))
    with pytest.raises(TransientError, match=f"cannot write to kafka:{topics[1]}: .*timed out"):
        send.finish_bundle()
    reader.close()
    assert read_topic(kafka.address, topics[1]) == []
