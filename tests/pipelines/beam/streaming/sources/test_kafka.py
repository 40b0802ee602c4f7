"""The Kafka source on a real broker."""

import json
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.transforms.window import IntervalWindow
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from apache_beam.utils.windowed_value import PANE_INFO_UNKNOWN
from confluent_kafka import KafkaError, KafkaException, Producer
from faults.inputs import create_again, remove_records
from patience import PATIENCE, wait_for
from topics import unique, write_topic

from encoder.errors import ConfigurationError, OtherInput, TemplateError, TransientError
from encoder.store.objects import open_objects
from pipelines.beam.streaming.batch import Windows
from pipelines.beam.streaming.model import PinnedModel
from pipelines.beam.streaming.sinks.parquet import WindowFile, _Write
from pipelines.beam.streaming.source_options import SourceOptions, Timing
from pipelines.beam.streaming.sources.kafka import PartitionRead, TopicRead
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.kafka.topic_ids import TopicId

pytestmark = pytest.mark.server

N = 500
START = 1_705_305_600


def record(i):
    return json.dumps(
        {"id": i, "text": f"login failed {i}", "at": START + i, "user": {"name": "ana"}}
    ).encode()


def write(kafka, topic, numbers):
    """Write records to both partitions; without keys a client may send them all to one."""
    write_topic(kafka.address, topic, [(str(i), record(i), None) for i in numbers])


@pytest.fixture
def topic(kafka):
    name = kafka.create_topic(unique("events"), partitions=2)
    write(kafka, name, range(N))
    return name


@pytest.fixture
def source(kafka, topic):
    def make(wanted=("text",), keep=None, kind=None, name=topic, **times):
        timing = Timing(**{"field": "at", "window": 10, "out_of_orderness": 0, "ends": True, **times})
        return SourceOptions(f"kafka:{name}", kind, kafka.address).source(wanted, keep, timing, "file:///out")

    return make


def read(reader):
    """All that is there, until the source ends."""
    found = []

    def ended():
        if reader.advance():
            found.append(reader.get_current())
            return False
        return reader.get_watermark() == MAX_TIMESTAMP

    wait_for(ended, "the end of the source", pause=0)
    return found


def ids(batches):
    return [i for batch in batches for i in batch.records["id"].to_pylist()]


def test_every_partition_is_read_to_its_end(source, topic):
    readers = [part.create_reader(None, None) for part in source().split(20)]
    found = [read(reader) for reader in readers]
    assert sorted(ids(found[0]) + ids(found[1])) == list(range(N))
    for number, (reader, batches) in enumerate(zip(readers, found, strict=True)):
        assert {batch.source for batch in batches} == {f"{topic}/{number}"}
        assert [row for batch in batches for row in batch.rows.tolist()] == list(range(len(ids(batches))))
        times = [time for batch in batches for time in batch.times.tolist()]
        assert times == [(START + i) * 10**6 for i in ids(batches)]
        reader.close()


def test_a_reader_goes_on_behind_its_mark(source, kafka, topic):
    part = source().split(20)[0]
    reader = part.create_reader(None, None)
    assert _first(reader)
    rows, times = reader.get_current().rows.tolist(), reader.get_current().times
    coder = part.get_checkpoint_mark_coder()
    mark = coder.decode(coder.encode(reader.get_checkpoint_mark()))
    reader.close()
    assert mark.partitions == (PartitionRead(rows[-1] + 1, times.max()),)
    write(kafka, topic, range(N, N + 50))
    again = part.create_reader(None, mark)
    rows += [row for batch in read(again) for row in batch.rows.tolist()]
    again.close()
    assert rows == list(range(rows[-1] + 1))


def test_timestamps_in_other_units_and_of_the_future_are_dead_letters(source, kafka):
    """Some producers write micro- or nanoseconds; another one's clock is wrong."""
    name = kafka.create_topic(unique("events"), message_timestamp_after_max_ms=str(2**63 - 1))
    millis = START * 1000
    times = (millis, millis * 1000, millis * 10**6, (round(time.time()) + 3600) * 1000, millis + 1)
    producer = Producer({"bootstrap.servers": kafka.address})
    for i, at in enumerate(times):
        producer.produce(name, record(i), timestamp=at)
    assert producer.flush(PATIENCE) == 0
    [part] = source(name=name, field=None).split(20)
    reader = part.create_reader(None, None)
    batches = read(reader)
    assert ids(batches) == [0, 4]
    assert [bad.row for batch in batches for bad in batch.bad] == [1, 2, 3]
    assert reader.get_checkpoint_mark().partitions[0].watermark == (millis + 1) * 1000
    reader.close()


def created(kafka, topic):
    try:
        return kafka.create_topic(topic, 2)
    except KafkaException:  # it is still being deleted
        return None


def test_a_topic_that_is_created_again_is_another_source(source, kafka, topic, file, tmp_path):
    """Its offsets come again, so a window's file must not take them for the rows that it has."""
    windows = Windows(3600 * 10**6)
    for _ in range(2):
        reader = source(field=None, window=3600).split(20)[0].create_reader(None, None)
        first = read(reader)[0]
        reader.close()
        dofn = _Write(file)
        dofn.setup()
        [(_, slices)] = windows.slices(replace(first, times=np.full(len(first.rows), START * 10**6)))
        list(dofn.process((0, [slices]), IntervalWindow(START, START + 3600), PANE_INFO_UNKNOWN))
        admin = kafka.admin()  # its futures end with it
        admin.delete_topics([topic])[topic].result(PATIENCE)
        wait_for(lambda: created(kafka, topic), f"topic {topic} again", pause=0.05)
        write(kafka, topic, range(N, 2 * N))
    found = [pq.read_table(path)["id"].to_pylist() for path in sorted((tmp_path / "out").glob("*.parquet"))]
    assert len(found) == 2
    assert min(found[0]) >= N > max(found[1])


@pytest.fixture
def file(model, tmp_path):
    enrichment = Enrichment.parse("text", keep=["id"])
    return WindowFile(PinnedModel(ModelVersion.resolve(str(model))), enrichment, (tmp_path / "out").as_uri())


def test_whoever_goes_on_takes_over_the_consumer(source, kafka, topic):
    """As when bundles overlap, and Beam hands a partition on to another of its `DoFn`s."""
    part = source(ends=False).split(20)[0]
    first = part.create_reader(None, None)
    assert _first(first)
    rows = first.get_current().rows.tolist()
    consumer, mark = first._consumer, first.get_checkpoint_mark()
    second = part.create_reader(None, mark)
    write(kafka, topic, range(N, N + 50))
    assert _first(second)
    assert second._consumer is consumer
    again = second.get_current().rows.tolist()
    assert again[0] == rows[-1] + 1
    assert _first(first)  # an attempt that was given up, but still runs, disturbs nobody
    assert first._consumer is not consumer
    assert first.get_current().rows[0] == again[0]
    first.close()

    def at_end():
        nonlocal again
        if second.advance():
            again = second.get_current().rows.tolist()
            return False
        return second._consumer.partitions[part.partitions[0]].at_end

    wait_for(at_end, "the end of the partition", pause=0)
    mark = second.get_checkpoint_mark()
    assert mark.partitions[0].offset == again[-1] + 1
    second.close()
    third = part.create_reader(None, mark)
    assert not third.advance()
    assert third._consumer is not consumer  # which is closed, as nobody had taken it
    third.close()


def test_one_reader_of_two_partitions_holds_its_watermark_for_both(source, topic):
    whole = replace(source(ends=False, idle=2), readers=1)
    [part] = whole.split(20)
    reader = part.create_reader(None, None)
    assert _first(reader)
    assert reader.get_watermark() < Timestamp(START)  # nothing is known of the other partition yet
    mark = reader.get_checkpoint_mark()
    reader.close()  # a second batch is read anew, if it was there already
    again = part.create_reader(None, mark)
    found = [reader.get_current()]
    while len(ids(found)) < N:
        assert _first(again)
        found.append(again.get_current())
    assert sorted(ids(found)) == list(range(N))
    last = {one.source: ids([one])[-1] for one in found}
    assert last.keys() == {f"{topic}/0", f"{topic}/1"}
    assert again.get_watermark() == Timestamp(START + min(last.values()))
    again.close()


def test_an_empty_partition_holds_up_no_window_for_long(source, kafka):
    name = kafka.create_topic(unique("events"), partitions=2)
    write_topic(kafka.address, name, [(b"k", record(1), None)])
    [part] = replace(source(name=name, ends=False, idle=1), readers=1).split(20)
    reader = part.create_reader(None, None)
    assert _first(reader)
    assert reader.get_watermark() < Timestamp(START)

    def passed():
        assert not reader.advance()
        return reader.get_watermark() > Timestamp(time.time() - 60)

    wait_for(passed, "a watermark that has passed the empty partition", pause=0)
    reader.close()


def test_a_broker_that_does_not_answer_is_no_silent_source(source):
    there = source(ends=False, idle=1)
    nowhere = {**there.properties, "bootstrap.servers": "127.0.0.1:1"}
    reader = replace(there, properties=nowhere).create_reader(None, None)
    assert not any(reader.advance() for _ in range(100))
    assert reader.get_watermark() < Timestamp(START)
    reader.close()


def test_a_forgotten_reader_takes_nothing_from_the_one_that_goes_on(source):
    part = source(ends=False).split(20)[0]
    first = part.create_reader(None, None)

    def at_end():
        first.advance()
        return first._consumer.partitions[part.partitions[0]].at_end

    wait_for(at_end, "the end of the partition", pause=0)
    live, mark = first._consumer, first.get_checkpoint_mark()
    second = part.create_reader(None, mark)
    assert not second.advance()
    mark = second.get_checkpoint_mark()  # at the same place
    first.close()
    third = part.create_reader(None, mark)
    assert not third.advance()
    assert third._consumer is live
    third.close()


def test_an_end_that_came_with_the_last_records_is_not_forgotten(source):
    part = source().split(20)[0]
    first = part.create_reader(None, None)
    while not first._ended:
        first.advance()
    second = part.create_reader(None, first.get_checkpoint_mark())
    assert not second.advance()
    assert second.get_watermark() == MAX_TIMESTAMP
    second.close()


def _first(reader):
    return wait_for(reader.advance, "a batch", pause=0)


def test_only_the_columns_that_are_needed_are_decoded(source):
    assert source(keep=["id"], wanted=["user.name", "at"]).schema == pa.schema(
        [("id", pa.int64()), ("user", pa.struct([("name", pa.string())])), ("at", pa.int64())]
    )


def test_values_that_are_no_records_are_bad_rows(source, kafka):
    name = kafka.create_topic(unique("events"))
    write_topic(kafka.address, name, [record(1), b"oops", None, b'{"id": "x"}', record(2)])
    [part] = source(name=name).split(1)
    batches = read(part.create_reader(None, None))
    assert ids(batches) == [1, 2]
    bad = [one for batch in batches for one in batch.bad]
    assert [(one.row, one.record) for one in bad] == [(1, b"oops"), (2, None), (3, b'{"id": "x"}')]
    assert {one.file for one in bad} == {f"{name}/0"}


def test_plain_text_is_a_record_with_one_field(source, kafka):
    name = kafka.create_topic(unique("lines"))
    write_topic(kafka.address, name, [b"login failed", b"disk full"])
    [part] = source(name=name, kind="text", field=None).split(1)
    [batch] = read(part.create_reader(None, None))
    assert batch.records.to_pylist() == [{"text": "login failed"}, {"text": "disk full"}]
    assert (batch.times > START * 10**6 // 2).all()  # the messages' own time


def test_a_source_without_an_end_waits_for_more(source, kafka):
    name = kafka.create_topic(unique("events"))
    write_topic(kafka.address, name, [record(1)])
    [part] = source(name=name, ends=False).split(1)
    reader = part.create_reader(None, None)
    assert _first(reader)
    assert not any(reader.advance() for _ in range(20))
    assert reader.get_watermark() < MAX_TIMESTAMP
    write_topic(kafka.address, name, [record(2)])
    assert _first(reader)
    assert reader.get_current().rows.tolist() == [1]
    reader.close()


def test_what_is_not_there_is_said_at_once(source, kafka):
    with pytest.raises(ConfigurationError, match="there is no topic 'nowhere' to read"):
        source(name="nowhere")
    with pytest.raises(
        ConfigurationError, match="is empty, so its columns are unknown: write a record first"
    ):
        source(name=kafka.create_topic(unique("empty")))
    with pytest.raises(
        TemplateError, match=r"no sampled record has the field 'nope': use one of id, text, at"
    ):
        source(wanted=["nope"])


class Event:
    """A message that is an error."""

    def __init__(self, *error):
        self._error = KafkaError(*error)

    def partition(self):
        return 0

    def error(self):
        return self._error


def reader_at(source, offset):
    """A reader of both partitions that has read all before an offset."""
    read = TopicRead(tuple(PartitionRead(offset) for _ in source.partitions))
    return replace(source, readers=1).split(1)[0].create_reader(None, read)


def test_a_topic_that_was_created_again_ends_the_stream(kafka, source, topic):
    planned = source()
    create_again(kafka, topic, 2)
    write(kafka, topic, range(N))
    with pytest.raises(OtherInput, match=r"that this stream has read .*created again"):
        read(reader_at(planned, 10))


def test_a_log_that_ends_before_the_position_is_read_from_its_beginning_as_another_version(source):
    reader = reader_at(source(), 5000)
    found = read(reader)
    assert sorted(ids(found)) == list(range(N))
    assert {batch.version for batch in found} == {f"{reader._source.topic_id.short}-1"}
    assert [one.epoch for one in reader.get_checkpoint_mark().partitions] == [1, 1]
    reader.close()


def test_a_stream_goes_on_behind_what_retention_removed(kafka, source, topic, caplog):
    remove_records(kafka, topic, 2, before=100)
    reader = reader_at(source(), 10)
    found = read(reader)
    assert {int(batch.rows.min()) for batch in found[:1]} == {100}
    assert len(ids(found)) == N - 200
    assert {batch.version for batch in found} == {reader._source.topic_id.short}
    assert caplog.text.count("offsets 10 to 99 are not read") == 2
    reader.close()


def test_a_folder_belongs_to_one_topic_unless_another_is_accepted(source, tmp_path):
    folder, first = open_objects(str(tmp_path)), source()
    _, metadata = first.claim(folder, accept=False)
    assert metadata["millstream.topic_id"] == first.topic_id.topic
    other = replace(first, topic_id=TopicId("elsewhere", first.topic_id.topic))
    with pytest.raises(OtherInput, match="it is in cluster elsewhere"):
        other.claim(folder, accept=False)
    assert other.claim(folder, accept=True) == other.claim(folder, accept=False)
    with pytest.raises(OtherInput):
        first.claim(folder, accept=False)


def test_errors_end_the_bundle_or_are_waited_out(source):
    reader = source().split(1)[0].create_reader(None, None)
    reader.advance()
    with pytest.raises(ConfigurationError, match=r"cannot read events-.*/0"):
        reader._consumer._handle(Event(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with pytest.raises(TransientError, match="cannot continue to read"):
        reader._consumer._handle(Event(KafkaError._FATAL, "fenced", True))
    reader._consumer._handle(Event(KafkaError._ALL_BROKERS_DOWN))
    reader.close()
