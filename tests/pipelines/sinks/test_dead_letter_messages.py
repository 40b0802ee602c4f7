"""Dead letters say where a record came from and what is wrong, and carry it as it was."""

from faults.messages import FakeMessage

from pipelines.records.bad_rows import DeadLetter
from pipelines.sinks.dead_letter_messages import DEAD_LETTER_SCHEMA, dead_letter_batch, dead_letter_message
from pipelines.sinks.kafka import TopicSink

LETTER = DeadLetter(0, "VALUE_CONVERTER", "not JSON: cafe\u0301")
MESSAGE = FakeMessage(b"\xffoops", b"k", [("h", None)], partition_=3, offset_=7)


def headers(outgoing):
    return {name.removeprefix("__connect.errors."): value for name, value in outgoing.headers}


def test_a_message_is_kept_and_explained():
    made = dead_letter_message(MESSAGE, LETTER, TopicSink(None, "dead", 100_000), MESSAGE.value())
    assert (made.value, made.key, made.headers[0]) == (b"\xffoops", b"k", ("h", None))
    found = headers(made)
    expected = {"topic": b"in", "partition": b"3", "offset": b"7", "stage": b"VALUE_CONVERTER"}
    assert {name: found[name] for name in expected} == expected
    assert found["exception.message"].decode() == LETTER.reason
    assert {"exception.stacktrace", "connector.name", "task.id"} <= set(found)


def test_the_names_of_classes_stay_as_readers_of_topics_know_them():
    found = headers(dead_letter_message(MESSAGE, LETTER, TopicSink(None, "dead", 100_000), MESSAGE.value()))
    assert found["class.name"] == b"pipelines.kafka.worker.Worker"
    assert found["exception.class.name"] == b"encoder.errors.InputError"


def test_what_the_topic_would_refuse_is_left_out():
    sink = TopicSink(None, "dead", 2000)
    large = FakeMessage(b"x" * 3000, b"k", [("h", b"y" * 3000)])
    made = dead_letter_message(large, LETTER, sink, large.value())
    assert not sink.too_large(made)
    assert (made.value, made.key) == (None, b"k")
    assert headers(made)["value.omitted"] == b"3000 bytes"
    assert dead_letter_message(FakeMessage(b"x", b"k" * 3000), LETTER, sink, b"x").key is None


def test_letters_as_columns():
    batch = dead_letter_batch(
        [FakeMessage(None), MESSAGE], [DeadLetter(1, "TASK_PUT", "too large")], [MESSAGE.value()]
    )
    assert batch.schema == DEAD_LETTER_SCHEMA
    [row] = batch.to_pylist()
    assert (row["partition"], row["offset"], row["key"], row["value"]) == (3, 7, b"k", b"\xffoops")
    assert row["headers"] == [{"name": "h", "value": None}]
    assert (row["stage"], row["reason"]) == ("TASK_PUT", "too large")
    assert row["timestamp"].year == 2023
