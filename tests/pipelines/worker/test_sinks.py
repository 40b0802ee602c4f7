"""What goes to which output: rows that topics had, rows that are too large, rows of several partitions."""

import numpy as np
import pyarrow as pa
import pytest
from faults.doubles import Clock, DictObjects
from faults.messages import FakeMessage, batch_of

from pipelines.enrich.enrichment import EnrichedBatch
from pipelines.records.bad_rows import DeadLetter
from pipelines.sinks.kafka import TopicSink, record_encoder
from pipelines.sinks.offset_files import OffsetFiles
from pipelines.sinks.open_files import Rotation
from pipelines.worker.sinks import Outputs


class FakeProducer:
    def __init__(self):
        self.sent = []

    def produce(self, topic, value, key, headers):
        assert headers
        self.sent.append((topic, value, key))

    def produce_batch(self, topic, messages):
        self.sent += [(topic, message["value"], message["key"]) for message in messages]
        return len(messages)


def made_of(sizes, rows):
    records = [{"id": row, "pad": "x" * size} for row, size in zip(rows, sizes, strict=True)]
    vectors = pa.array([b"12"] * len(rows), pa.binary(2))
    batch = pa.record_batch({"id": pa.array(rows, pa.int64()), "embedding": vectors})
    return EnrichedBatch(np.array(rows), records, batch, "tiny@7", [])


def messages(n, partitions=1):
    return batch_of([FakeMessage(b"v", b"%d" % i, None, i % partitions, i) for i in range(n)])


def as_json(made):
    return record_encoder("json", None)(made.records, made.batch["embedding"], made.label)


def sent(outputs, messages, made, fresh):
    """Send records; gives the dead letters and the number of bytes."""
    encoded = outputs.encode(messages, made, fresh)
    return encoded.letters, outputs.send(encoded)


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


def test_topics_do_not_get_twice_what_is_read_again_for_files(producer):
    outputs = Outputs(topics=topics(producer), encode=as_json)
    fresh = np.array([False, False, True, True])
    sent(outputs, messages(4), made_of([1] * 3, [0, 2, 3]), fresh)
    assert keys(producer) == [2, 3]


@pytest.mark.parametrize("fresh", [None, np.array([True, True, True, False])])
def test_what_is_too_large_for_one_topic_is_a_letter(fresh, producer):
    outputs = Outputs(topics=topics(producer, out=9000, small=2000), encode=as_json)
    letters, _ = sent(outputs, messages(4), made_of([1, 5000, 1, 5000], [0, 1, 2, 3]), fresh)
    large = [1, 3] if fresh is None else [1]
    assert [letter.row for letter in letters] == large
    assert "topic 'small' takes" in letters[0].reason
    assert keys(producer) == keys(producer, "small") == [0, 2]


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
