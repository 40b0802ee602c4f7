"""The output `kafka:TOPIC` on a real broker, in this process; on engines it is tested in `tests/engines`."""

import json
import time

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.utils.timestamp import MAX_TIMESTAMP
from patience import wait_for
from topics import lower_limit, read_topic, unique, values_of, write_topic

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


@pytest.mark.parametrize("kind", ["json", "arrow"])
def test_a_limit_that_is_lowered_while_the_job_runs_makes_letters(kind, kafka, topics, model):
    source, target, dead = topics
    records = [{"id": i, "text": "x" * 20_000 if i in (40, 90) else f"login failed {i}"} for i in range(N)]
    write_topic(kafka.address, source, [(str(one["id"]), json.dumps(one), None) for one in records])
    words = SinkOptions(f"kafka:{target}", f"kafka:{dead}", format=kind, brokers=kafka.address)
    job = plan_stream(
        model=str(model),
        source=SourceOptions(f"kafka:{source}", brokers=kafka.address),
        sink=words,
        enrichment=Enrichment.parse("text"),
        timing=Timing(ends=True),
    )
    lower_limit(kafka, target, 5000)
    send_all(job)
    good = {one["id"] for one in records} - {40, 90}
    found = read_topic(kafka.address, target)
    if kind == "arrow":
        tables = [pa.ipc.open_stream(one.value()).read_all() for one in found]
        assert {i for table in tables for i in table["id"].to_pylist()} == good
    else:
        assert {value["id"] for value in values_of(found)} == good
    letters = read_topic(kafka.address, dead)
    assert {json.loads(one.value())["id"] for one in letters} == {40, 90}


def send_all(job):
    """Read the source to its end and send its records."""
    send = _Send(job.sink)
    send.setup()
    send.start_bundle()
    for part in job.source.split(1):
        reader = part.create_reader(None, None)
        while reader.get_watermark() != MAX_TIMESTAMP:
            if reader.advance():
                list(send.process(reader.get_current()))
        reader.close()
    send.finish_bundle()


def test_a_delete_that_is_refused_is_a_letter(kafka, topics, model):
    source, target, dead = topics
    write_topic(kafka.address, source, [("k" * 20_000, None, None), ("k", '{"id": 1, "text": "paid"}', None)])
    job = plan_stream(
        model=str(model),
        source=SourceOptions(f"kafka:{source}", brokers=kafka.address),
        sink=SinkOptions(f"kafka:{target}", f"kafka:{dead}", brokers=kafka.address),
        enrichment=Enrichment.parse("text"),
        timing=Timing(ends=True),
    )
    lower_limit(kafka, target, 10_000)
    send_all(job)
    assert [value["id"] for value in values_of(read_topic(kafka.address, target))] == [1]
    [letter] = read_topic(kafka.address, dead)
    assert (len(letter.key()), letter.value()) == (20_000, None)
    assert b"refuses" in dict(letter.headers())["__connect.errors.exception.message"]


def test_arrow_messages_for_a_topic_that_wants_keys_are_letters(kafka, topics, model):
    source, _, dead = topics
    target = kafka.create_topic(unique("compacted"), 1, cleanup_policy="compact")
    write_topic(kafka.address, source, [("k", json.dumps({"id": i, "text": "paid"}), None) for i in range(9)])
    job = plan_stream(
        model=str(model),
        source=SourceOptions(f"kafka:{source}", brokers=kafka.address),
        sink=SinkOptions(f"kafka:{target}", f"kafka:{dead}", format="arrow", brokers=kafka.address),
        enrichment=Enrichment.parse("text"),
        timing=Timing(ends=True),
    )
    send_all(job)
    assert read_topic(kafka.address, target) == []
    assert sorted(value["id"] for value in values_of(read_topic(kafka.address, dead))) == list(range(9))


NOW = round(1000 * time.time()) - 3_600_000


@pytest.fixture
def changes(kafka, topics):
    """Records and deletes of three keys, with headers and times, and two bad records."""
    messages = [
        (
            f"k{i % 3}",
            None if i % 4 == 1 else json.dumps({"id": i, "text": f"disk full {i}"}),
            [("n", b"%d" % i)],
            NOW + i,
        )
        for i in range(60)
    ]
    bad = [(None, None, [("n", b"60")], NOW + 60), ("k", '{"id": 61, "more": 1}', [("n", b"61")], NOW + 61)]
    write_topic(kafka.address, topics[0], [*messages, *bad])
    return messages


def by_number(messages):
    return {int(dict(one.headers())["n"]): one for one in messages}


def test_deletes_keys_headers_and_times_are_kept_in_messages_and_letters(changes, stream, kafka, topics):
    stream()
    found = read_topic(kafka.address, topics[1])
    assert sorted(by_number(found)) == list(range(60))
    for i, one in by_number(found).items():
        assert (one.key().decode(), one.timestamp()[1]) == (f"k{i % 3}", NOW + i)
        assert (one.value() is None) == (i % 4 == 1)
    for key in {one.key() for one in found}:
        own = [int(dict(one.headers())["n"]) for one in found if one.key() == key]
        assert own == sorted(own)
    letters = by_number(read_topic(kafka.address, topics[2]))
    told = {i: (one.key(), one.value(), one.timestamp()[1]) for i, one in letters.items()}
    assert told == {60: (None, None, NOW + 60), 61: (b"k", b'{"id": 61, "more": 1}', NOW + 61)}
    assert len(changes) == 60


def test_deletes_may_be_letters_in_a_folder(changes, stream, kafka, topics, tmp_path, letters):
    stream("--tombstones", "dead-letter", letters=f"files:{tmp_path / 'bad'}")
    assert all(one.value() is not None for one in read_topic(kafka.address, topics[1]))
    deleted = [one for one in letters(tmp_path / "bad") if one["reason"] == "a delete: the value is null"]
    assert sorted(int(one["headers"][0][1]) for one in deleted) == [i for i in range(60) if i % 4 == 1]
    for one in deleted:
        i = int(one["headers"][0][1])
        assert (one["record"], one["key"], one["timestamp"]) == (None, f"k{i % 3}", NOW + i)
    assert len(changes) == 60


@pytest.mark.parametrize("columns", [True, False])
def test_deletes_in_windows(columns, changes, millstream, kafka, topics, tmp_path, model, letters):
    out = tmp_path / "out"
    more = ["--delete-columns"] if columns else []
    source = ("--input", f"kafka:{topics[0]}", "--brokers", kafka.address, "--stop-at-end", "--readers", "1")
    ended = millstream("stream", "--model", model, *source, "--output", f"parquet:{out}", *more)
    assert ended.code == 0, ended.err
    rows = pa.concat_tables([pq.read_table(file) for file in out.glob("*.parquet")]).to_pylist()
    dead = {int(one["headers"][0][1]): one for one in letters(out)}
    deleted = {i for i in range(60) if i % 4 == 1}
    assert {row["id"] for row in rows} - {None} == set(range(60)) - deleted
    if columns:
        assert sorted(dead) == [60, 61]
        gone = [row for row in rows if row["deleted"]]
        assert len(gone) == len(deleted)
        assert all(row["id"] is row["embedding"] is None for row in gone)
        assert {row["message_key"] for row in rows} == {b"k0", b"k1", b"k2"}
    else:
        assert set(dead) == deleted | {60, 61}
        assert all("--delete-columns" in dead[i]["reason"] for i in deleted)
    assert (dead[61]["key"], dead[61]["record"]) == ("k", '{"id": 61, "more": 1}')
    assert (dead[60]["key"], dead[60]["record"], dead[60]["timestamp"]) == (None, None, NOW + 60)
    assert len(changes) == 60


def test_times_that_the_topic_does_not_accept_stop_nothing(stream, kafka, topics, encoder):
    free = {"message_timestamp_after_max_ms": str(2**63 - 1)}
    topics[0] = kafka.create_topic(unique("free"), 1, **free)
    times = [1, -5, -(2**62), NOW]
    write_topic(
        kafka.address,
        topics[0],
        [("k", f'{{"id": {i}, "text": "a"}}', None, at) for i, at in enumerate(times)],
    )
    stream("--event-time", "id", "--max-ahead", "1h")
    found = {json.loads(one.value())["id"]: one for one in read_topic(kafka.address, topics[1])}
    assert {i: one.timestamp()[1] for i, one in found.items()} == dict(enumerate(times))
    assert encoder.dim


def test_records_of_files_have_their_event_time(millstream, kafka, topics, tmp_path, model):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "a", "at": {NOW}}}\n{{"text": "b", "at": null}}\n')
    own = ("--model", model, "--input", f"files:{tmp_path / 'a.jsonl'}", "--brokers", kafka.address)
    more = ("--output", f"kafka:{topics[1]}", "--dead-letters", f"files:{tmp_path}/bad", "--stop-at-end")
    before = round(1000 * time.time())
    ended = millstream("stream", *own, *more, "--event-time", "at")
    assert ended.code == 0, ended.err
    times = {
        json.loads(one.value())["text"]: one.timestamp()[1] for one in read_topic(kafka.address, topics[1])
    }
    assert times["a"] == NOW
    assert times["b"] >= before
