"""Records as messages: what is in them, and which of them a topic would refuse."""

import base64
import json
import time

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka import KafkaException

from pipelines.enrich.columns import VectorFormat
from pipelines.kafka.messages import ANY_TIME, NO_TIMESTAMP, NOW, TIMESTAMP, TimeLimits
from pipelines.sinks.kafka import Outgoing, TopicSink, arrow_messages, record_encoder

FAR = 2**62
VECTORS = np.random.default_rng(3).normal(size=(3, 8)).astype(np.float32)
LABEL = "tiny@7"


def records():
    return [{"id": 0, "text": "a"}, {"id": 1, "embedding": "old"}, {"id": 2, "text": None}]


def decoded(kind, messages):
    decode = json.loads if kind == "json" else msgspec.msgpack.decode
    return [decode(message) for message in messages]


class FakeProducer:
    """Notes what is sent; refuses what a test wants refused."""

    def __init__(self, refused=()):
        self.sent = []
        self._refused = refused

    def produce(self, topic, value, key, partition, callback, on_delivery, timestamp, headers):
        assert (partition, callback, on_delivery) == (-1, None, None)
        if value in self._refused:
            raise BufferError("Local: Queue full")
        self.sent.append((topic, value, key, headers, timestamp))


@pytest.mark.parametrize("kind", ["json", "msgpack"])
@pytest.mark.parametrize("layout", ["list", "binary"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("part", [slice(0, 3), slice(1, 3), slice(0, 0)])
def test_messages_have_the_fields_the_vector_and_the_version(kind, layout, dtype, part):
    column = VectorFormat(layout, dtype).column((20 * VECTORS).astype(dtype))[part]
    made = decoded(kind, record_encoder(kind, None)(records()[part], column, LABEL))
    assert [next(iter(one)) for one in made] == ["id"] * len(made)
    assert [one["id"] for one in made] == [one["id"] for one in records()[part]]
    assert all(one["model_version"] == LABEL for one in made)
    for one, expected in zip(made, column.to_pylist(), strict=True):
        vector = one["embedding"]
        if layout == "binary":
            assert (base64.b64decode(vector) if kind == "json" else vector) == expected
        else:
            assert np.array_equal(np.array(vector, dtype), np.array(expected, dtype))


def test_fields_are_chosen():
    [one, *_] = decoded(
        "json", record_encoder("json", ["text", "no"])(records(), VectorFormat().column(VECTORS), LABEL)
    )
    assert list(one) == ["text", "embedding", "model_version"]


def test_arrow_batches_are_cut_until_they_fit():
    batch = pa.record_batch({"id": pa.array(range(100)), "text": pa.array(["x" * 100] * 99 + ["y" * 9000])})
    whole, none = arrow_messages(batch, 1 << 20)
    assert (len(whole), none) == (1, [])
    messages, large = arrow_messages(batch, 4000)
    assert large == [99]
    assert all(len(message) <= 4000 for message in messages)
    tables = [pa.ipc.open_stream(message).read_all() for message in messages]
    assert pa.concat_tables(tables)["id"].to_pylist() == list(range(99))
    assert arrow_messages(batch.slice(0, 0), 10) == ([], [])


def test_keys_and_headers_are_kept():
    producer = FakeProducer()
    sink = TopicSink(producer, "out", 1000)
    sink.send([b"1", None], [b"k", None], [None, []])
    sink.send([b"2", b"3"], [None, None], [[("h", b"x")], None])
    assert producer.sent == [
        ("out", b"1", b"k", None, NOW),
        ("out", None, None, [], NOW),
        ("out", b"2", None, [("h", b"x")], NOW),
        ("out", b"3", None, None, NOW),
    ]


def test_messages_get_their_timestamps():
    producer = FakeProducer()
    TopicSink(producer, "out", 1000).send([b"1", b"2"], [None] * 2, None, [1, 1_700_000_000_000])
    assert [(headers, time) for *_, headers, time in producer.sent] == [(None, 1), (None, 1_700_000_000_000)]


@pytest.mark.parametrize(
    ("limits", "refused"),
    [
        (TimeLimits(), {FAR, 0}),
        (ANY_TIME, {0}),
        (TimeLimits(before=86_400_000, after=3_600_000), {FAR, 0, 1, -5, -FAR}),
    ],
)
def test_a_timestamp_that_the_topic_does_not_accept_becomes_a_header(limits, refused):
    producer, now = FakeProducer(), round(1000 * time.time())
    times = [now, NO_TIMESTAMP, FAR, now + 1, 0, 1, -5, -FAR]
    about = [None, [("h", b"x")], [("h", b"y")], *[None] * 5]
    TopicSink(producer, "out", 1000, limits).send([b"v"] * 8, [None] * 8, about, times)
    for (*_, headers, sent), given, before in zip(producer.sent, times, about, strict=True):
        if given in refused:
            assert (headers, sent) == ([*(before or ()), (TIMESTAMP, str(given).encode())], NOW)
        else:
            assert (headers, sent) == (before, NOW if given == NO_TIMESTAMP else given)


def test_what_the_producer_refuses_is_an_error():
    sink = TopicSink(FakeProducer(refused=(b"2",)), "out", 1000)
    with pytest.raises(KafkaException, match="Queue full"):
        sink.send([b"1", b"2"], [None, None])


def test_keys_and_headers_count():
    sink = TopicSink(FakeProducer(), "out", 1000)
    assert not sink.too_large(Outgoing(b"x" * sink.max_bytes, None, None))
    assert sink.too_large(Outgoing(b"x" * sink.max_bytes, b"k", None))
    assert sink.too_large(Outgoing(b"x" * (sink.max_bytes - 5), None, [("h", b"v")]))


@pytest.mark.parametrize("kind", ["json", "msgpack"])
def test_scores_stand_beside_the_vectors(kind):
    n = len(VECTORS)
    pair = pa.struct([pa.field("a", pa.float32()), pa.field("b", pa.float32())])
    scores = [
        ("kind_label", pa.array(["x", None] * n)[:n].dictionary_encode()),
        ("kind_score", pa.array([0.1] * n, pa.float32())),
        ("odd_novel", pa.array([True] * n)),
        ("tags_labels", pa.array([["a"]] * n)),
        ("tags_scores", pa.array([{"a": 0.9, "b": 1e-9}] * n, pair)),
    ]
    column = VectorFormat().column(VECTORS)
    values = record_encoder(kind, ["text"])(records(), column, LABEL, scores)
    [one, two, *_] = decoded(kind, values)
    assert list(one) == ["text", *(name for name, _ in scores), "embedding", "model_version"]
    assert (one["kind_label"], two["kind_label"]) == ("x", None)
    assert (one["odd_novel"], one["tags_labels"]) == (True, ["a"])
    found = [one["kind_score"], one["tags_scores"]["a"], one["tags_scores"]["b"]]
    assert np.array_equal(np.array(found, np.float32), np.array([0.1, 0.9, 1e-9], np.float32))
    if kind == "json":  # the shortest digits of a float32
        assert b'"kind_score":0.1,' in values[0]


def test_messages_that_the_topic_will_delete_are_warned_of_once(caplog):
    sink = TopicSink(FakeProducer(), "out", 1000, TimeLimits(kept=86_400_000))
    now = round(1000 * time.time())
    sink.send([b"v"] * 2, [None] * 2, None, [now, NO_TIMESTAMP])
    assert caplog.messages == []
    for _ in range(2):
        sink.send([b"v"] * 2, [None] * 2, None, [now, now - 100_000_000])
    [said] = caplog.messages
    assert "topic 'out' deletes messages" in said
