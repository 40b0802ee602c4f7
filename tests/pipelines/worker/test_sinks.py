"""What goes to which output: rows that topics had, rows that are too large, rows of several partitions."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults.doubles import Clock, DictObjects
from faults.messages import FakeMessage, batch_of

from pipelines.enrich.condition import Condition
from pipelines.enrich.enrichment import EnrichedBatch
from pipelines.records.bad_rows import DeadLetter
from pipelines.sinks.kafka import TopicSink, record_encoder
from pipelines.sinks.offset_files import OffsetFiles
from pipelines.sinks.open_files import Rotation
from pipelines.worker.sinks import Outputs


class FakeProducer:
    def __init__(self):
        self.sent, self.times, self.headers = [], [], []

    def produce(self, topic, value, key, _partition, _callback, _on_delivery, timestamp, headers):
        self.sent.append((topic, value, key))
        self.times.append(timestamp)
        self.headers.append(headers)


def made_of(sizes, rows):
    records = [{"id": row, "pad": "x" * size} for row, size in zip(rows, sizes, strict=True)]
    vectors = pa.array([b"12"] * len(rows), pa.binary(2))
    batch = pa.record_batch({"id": pa.array(rows, pa.int64()), "embedding": vectors})
    return EnrichedBatch(np.array(rows, np.int64), records, batch, "tiny@7", [])


def messages(n, partitions=1):
    return batch_of([FakeMessage(b"v", b"%d" % i, None, i % partitions, i) for i in range(n)])


def as_json(made):
    return record_encoder("json", None)(made.records, made.batch["embedding"], made.label)


def sent(outputs, messages, made, fresh):
    """Send records; gives the dead letters and the number of bytes."""
    encoded = outputs.encode(messages, made, fresh)
    outputs.send([encoded])
    return encoded.letters, encoded.n_bytes


@pytest.fixture
def producer():
    return FakeProducer()


def keys(producer, topic="out"):
    return [int(key) for name, _, key in producer.sent if name == topic]


def topics(producer, **limits):
    limits = limits or {"out": 100_000}
    return [TopicSink(producer, name, limit) for name, limit in limits.items()]


def test_records_go_to_every_topic(producer):
    outputs = Outputs(topics=topics(producer, out=10_000, two=10_000), encode=as_json)
    letters, n_bytes = sent(outputs, messages(4), made_of([1, 1], [1, 3]), None)
    assert (keys(producer), keys(producer, "two"), list(letters)) == ([1, 3], [1, 3], [])
    assert n_bytes == sum(len(value) for name, value, _ in producer.sent if name == "out")


WHERE = {"alerts": Condition.parse("id > 1")}


@pytest.mark.parametrize("names", [["out", "alerts"], ["alerts"]])
@pytest.mark.parametrize("fresh", [None, np.array([True, True, True, False])])
def test_a_topic_with_a_condition_gets_the_records_for_which_it_holds(fresh, names, producer):
    sinks = topics(producer, **dict.fromkeys(names, 10_000))
    encoded = []

    def encode(made):
        encoded.extend(record["id"] for record in made.records)
        return as_json(made)

    outputs = Outputs(topics=sinks, conditions=WHERE, encode=encode)
    sent(outputs, messages(4), made_of([1] * 3, [1, 2, 3]), fresh)
    every = [1, 2, 3] if fresh is None else [1, 2]
    assert keys(producer, "alerts") == every[1:]
    assert keys(producer) == (every if "out" in names else [])
    assert encoded == ([1, 2, 3] if "out" in names else [2, 3])  # what no topic takes is not encoded
    sent(outputs, messages(4), made_of([1], [0]), None)
    assert keys(producer, "alerts") == every[1:]


def test_a_record_is_too_large_only_for_a_topic_that_takes_it(producer):
    outputs = Outputs(topics=topics(producer, out=9000, alerts=2000), conditions=WHERE, encode=as_json)
    letters, _ = sent(outputs, messages(4), made_of([5000] * 3, [0, 1, 3]), None)
    assert [(letter.row, "topic 'alerts' takes" in letter.reason) for letter in letters] == [(3, True)]
    assert (keys(producer), keys(producer, "alerts")) == ([0, 1], [])


def test_deletes_go_to_topics_that_get_all_records(producer):
    made = made_of([1], [2])._replace(deletes=[0, 3])
    outputs = Outputs(topics=topics(producer, out=9000, alerts=9000), conditions=WHERE, encode=as_json)
    sent(outputs, messages(4), made, None)
    assert (keys(producer), keys(producer, "alerts")) == ([0, 2, 3], [2])
    alone = Outputs(topics=topics(producer, alerts=9000), conditions=WHERE, encode=as_json)
    assert alone.tombstones == "dead-letter"
    letters, _ = sent(alone, messages(4), made, None)
    assert [(letter.row, letter.is_delete) for letter in letters] == [(0, True), (3, True)]


def test_topics_do_not_get_twice_what_is_read_again_for_files(producer):
    outputs = Outputs(topics=topics(producer), encode=as_json)
    fresh = np.array([False, False, True, True])
    sent(outputs, messages(4), made_of([1] * 3, [0, 2, 3]), fresh)
    assert keys(producer) == [2, 3]


@pytest.mark.parametrize("fresh", [None, np.array([True, True, True, False])])
def test_what_is_too_large_for_one_topic_is_a_letter(fresh, producer):
    outputs = Outputs(topics=topics(producer, out=9000, small=2000), encode=as_json)
    letters, _ = sent(outputs, messages(4), made_of([1, 5000, 1, 5000], [0, 1, 2, 3]), fresh)
    assert [letter.row for letter in letters] == [1, 3]  # `send_letters` leaves out what the topic has
    assert "topic 'small' takes" in letters[0].reason
    assert keys(producer) == keys(producer, "small") == [0, 2]


@pytest.mark.parametrize("encode", [as_json, None])
@pytest.mark.parametrize("fresh", [None, np.array([False, False, True, True])])
def test_what_is_too_large_for_a_topic_is_a_letter_and_in_no_file(encode, fresh, producer):
    objects = DictObjects(Clock())
    files = OffsetFiles(objects, Rotation(), {}, lambda partition: ("in", partition))
    files.begin(0, 0)
    made = made_of([1, 1, 1, 1], [0, 1, 2, 3])
    large = pa.array([b"", b"", b"", b"x" * 9000])
    made = made._replace(batch=made.batch.append_column("pad", large))
    made.records[3]["pad"] = "x" * 9000
    outputs = Outputs(topics=topics(producer, out=5000), encode=encode, files=files)
    letters, _ = sent(outputs, messages(4), made, fresh)
    assert [letter.row for letter in letters] == [3]
    assert files.flush([0], 4)
    [(content, *_)] = objects.content.values()
    assert pq.read_table(pa.BufferReader(content))["id"].to_pylist() == [0, 1, 2]


def test_arrow_batches(producer):
    outputs = Outputs(topics=topics(producer))
    letters, _ = sent(outputs, messages(4), made_of([1] * 3, [0, 2, 3]), np.array([False, True, True, True]))
    [(_, value, key)] = producer.sent
    assert (pa.ipc.open_stream(value).read_all()["id"].to_pylist(), key, letters) == ([2, 3], None, [])


def test_files_get_the_rows_of_their_partitions():
    objects, dead = DictObjects(Clock()), DictObjects(Clock(), "dict://dead")
    files, letter_files = (
        OffsetFiles(one, Rotation(), {}, lambda partition: ("in", partition)) for one in (objects, dead)
    )
    for one in (files, letter_files):
        for partition in range(3):
            one.begin(partition, 0)
    outputs = Outputs(files=files, letters_files=letter_files)
    assert (outputs.has_topics, outputs.files) == (False, [files, letter_files])
    batch = messages(9, partitions=3)
    sent(outputs, batch, made_of([1] * 7, [0, 1, 2, 3, 4, 5, 6]), None)
    outputs.send_letters(batch, [DeadLetter(8, "TASK_PUT", "x"), DeadLetter(7, "TASK_PUT", "x")], None)
    assert files.flush([0, 1, 2], 30)
    assert letter_files.flush([0, 1, 2], 30)
    assert sorted(objects.content) == [f"in/p{p}/{p:020d}.parquet" for p in range(3)]
    assert sorted(dead.content) == [f"in/p{p}/{p + 6:020d}.parquet" for p in (1, 2)]


def test_letters_go_to_their_topic_once(producer):
    outputs = Outputs(letters_topic=TopicSink(producer, "dead", 10_000))
    letters = [DeadLetter(0, "TASK_PUT", "x"), DeadLetter(2, "TASK_PUT", "x")]
    outputs.send_letters(messages(3), letters, np.array([False, True, True]))
    outputs.send_letters(messages(3), letters[:1], np.array([False, True, True]))
    assert keys(producer, "dead") == [2]


DELETES = [FakeMessage(None if i in (1, 4) else b"v", b"%d" % i, [("h", b"x")], 0, i) for i in range(6)]


def among_deletes(rows=(0, 2, 3, 5)):
    return made_of([1] * len(rows), list(rows))._replace(deletes=[1, 4])


def test_deletes_go_to_topics_in_their_place(producer):
    outputs = Outputs(topics=topics(producer), encode=as_json)
    letters, _ = sent(outputs, batch_of(DELETES), among_deletes(), None)
    assert (keys(producer), list(letters)) == ([0, 1, 2, 3, 4, 5], [])
    assert [int(key) for _, value, key in producer.sent if value is None] == [1, 4]
    assert producer.headers == [[("h", b"x")]] * 6
    assert producer.times == [1_700_000_000_000] * 6


def test_topics_do_not_get_deletes_twice(producer):
    outputs = Outputs(topics=topics(producer), encode=as_json)
    fresh = np.array([False, False, False, True, True, True])
    sent(outputs, batch_of(DELETES), among_deletes(), fresh)
    assert keys(producer) == [3, 4, 5]


def test_a_delete_that_is_too_large_is_a_letter_of_the_error_budget(producer):
    large = FakeMessage(None, b"k" * 9000, None, 0, 1)
    outputs = Outputs(topics=topics(producer, out=5000), encode=as_json)
    [letter], _ = sent(outputs, batch_of([DELETES[0], large]), made_of([1], [0])._replace(deletes=[1]), None)
    assert (keys(producer), letter.row, letter.stage, letter.is_delete) == ([0], 1, "TASK_PUT", False)


@pytest.mark.parametrize("has_topics", [True, False])
def test_deletes_may_be_dropped_or_letters(has_topics, producer):
    there = topics(producer) if has_topics else ()
    for tombstones, n_letters in (("drop", 0), ("dead-letter", 2)):
        outputs = Outputs(topics=there, encode=as_json, tombstones=tombstones)
        letters, _ = sent(outputs, batch_of(DELETES), among_deletes(), None)
        assert [letter.row for letter in letters] == [1, 4][:n_letters]
        assert all(letter.is_delete for letter in letters)
    assert keys(producer) == [0, 2, 3, 5] * 2 * has_topics


@pytest.mark.parametrize("encode", [None, as_json])
def test_deletes_that_no_output_can_hold_are_letters(encode, producer):
    outputs = Outputs(topics=() if encode else topics(producer), encode=encode)
    letters, _ = sent(outputs, batch_of(DELETES), among_deletes(), None)
    assert ([letter.row for letter in letters], outputs.tombstones) == ([1, 4], "dead-letter")


def test_deletes_are_rows_of_files_and_arrow_batches_with_their_columns(producer):
    objects = DictObjects(Clock())
    files = OffsetFiles(objects, Rotation(), {}, lambda partition: ("in", partition))
    files.begin(0, 0)
    outputs = Outputs(topics=topics(producer), files=files, delete_columns=True)
    letters, _ = sent(outputs, batch_of(DELETES), among_deletes(), None)
    assert list(letters) == []
    assert files.flush([0], 30)
    [(_, value, key)] = producer.sent
    tables = [
        pa.ipc.open_stream(value).read_all(),
        pq.read_table(pa.BufferReader(objects.content[f"in/p0/{0:020d}.parquet"][0])),
    ]
    for table in tables:
        assert table["message_key"].to_pylist() == [b"%d" % i for i in range(6)]
        assert table["deleted"].to_pylist() == [i in (1, 4) for i in range(6)]
        assert table["id"].to_pylist() == [0, None, 2, 3, None, 5]
        assert table["embedding"].to_pylist() == [None if i in (1, 4) else b"12" for i in range(6)]
    assert (key, producer.times) == (None, [1_700_000_000_000])


def test_nothing_but_deletes(producer):
    deletes = [DELETES[1], DELETES[4]]
    made = made_of([], [])._replace(deletes=[0, 1])
    sent(Outputs(topics=topics(producer), encode=as_json), batch_of(deletes), made, None)
    assert producer.sent == [("out", None, b"1"), ("out", None, b"4")]
    sent(Outputs(topics=topics(producer), delete_columns=True), batch_of(deletes), made, None)
    table = pa.ipc.open_stream(producer.sent[-1][1]).read_all()
    assert table["deleted"].to_pylist() == [True, True]


def test_an_arrow_message_has_the_latest_time_of_its_records(producer):
    sources = [FakeMessage(b"v", b"%d" % i, None, 0, i, milliseconds=1000 + i % 7) for i in range(100)]
    outputs = Outputs(topics=topics(producer, out=1500))
    sent(outputs, batch_of(sources), made_of([1] * 100, list(range(100))), None)
    parts = [pa.ipc.open_stream(value).read_all()["id"].to_pylist() for _, value, _ in producer.sent]
    assert len(parts) > 1
    assert producer.times == [max(1000 + i % 7 for i in part) for part in parts]
