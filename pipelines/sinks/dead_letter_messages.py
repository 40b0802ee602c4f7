"""Dead letters as messages and as columns, in Kafka Connect's convention.

A message keeps the record's key, value and headers, and gets headers `__connect.errors.…` that say where the
record came from and what is wrong. Parquet files have the same in columns.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.kafka.messages import NO_TIMESTAMP, readable_headers
from pipelines.records.bad_rows import ID, BadRow, DeadLetter
from pipelines.sinks.dead_letters import bad_row_id
from pipelines.sinks.kafka import Outgoing, TopicSink, header_bytes

if TYPE_CHECKING:
    from confluent_kafka import Message

__all__ = [
    "DEAD_LETTER_SCHEMA",
    "MaskValue",
    "bad_row_message",
    "dead_letter_batch",
    "dead_letter_headers",
    "dead_letter_message",
]

MaskValue = Callable[[bytes | None], bytes | None]
"""Masks the value of a message."""

_PREFIX = "__connect.errors."
_CLASS = "pipelines.kafka.worker.Worker"  # on the wire since the first version: it does not follow the code


def dead_letter_headers(bad: BadRow) -> list[tuple[str, bytes | None]]:
    """The headers of a message with a row's original bytes: where it came from and what is wrong."""
    topic, slash, partition = bad.file.rpartition("/")
    place = {"topic": topic, "partition": partition, "offset": str(bad.row)}
    about = {
        **(place if slash and partition.isdecimal() and "/" not in topic else {}),
        "connector.name": "millstream",
        "exception.class.name": "encoder.errors.InputError",
        "exception.message": bad.reason,
    }
    return [(ID, bad_row_id(bad).encode()), *_prefixed(about)]


def _prefixed(about: Mapping[str, str]) -> list[tuple[str, bytes | None]]:
    return [(f"{_PREFIX}{name}", value.encode("utf-8", "backslashreplace")) for name, value in about.items()]


DEAD_LETTER_SCHEMA = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp", pa.timestamp("ms", "UTC")),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("headers", pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))),
        ("stage", pa.string()),
        ("reason", pa.string()),
    ]
)
"""The columns of dead letters in Parquet."""


def dead_letter_message(
    message: "Message", letter: DeadLetter, sink: TopicSink, mask: MaskValue | None = None
) -> Outgoing:
    """A dead letter as a message, without what the topic does not take; a header names what was left out.

    Args:
        message: the message that failed.
        letter: what is wrong with it.
        sink: the topic.
        mask: masks the value, or None.
    """
    about = {
        "topic": str(message.topic()),
        "partition": str(message.partition()),
        "offset": str(message.offset()),
        "connector.name": "millstream",
        "task.id": "0",
        "stage": letter.stage,
        "class.name": _CLASS,
        "exception.class.name": letter.error,
        "exception.message": letter.reason,
        "exception.stacktrace": f"{letter.error}: {letter.reason}",
    }
    headers, hindrance = readable_headers(message)
    explained = _prefixed(about | ({"headers.omitted": hindrance} if hindrance else {}))
    original = Outgoing(_value(message, mask), message.key(), [*headers], message.timestamp()[1])
    return _fitting(original, explained, sink)


def bad_row_message(bad: BadRow, sink: TopicSink) -> Outgoing:
    """A bad row as a message, like `dead_letter_message`; a row of a file has its id as the key."""
    headers = dead_letter_headers(bad)
    if (envelope := bad.envelope) is None:
        return _fitting(Outgoing(bad.record, bad_row_id(bad).encode()), headers, sink)
    time = NO_TIMESTAMP if envelope.timestamp is None else envelope.timestamp
    return _fitting(Outgoing(bad.record, envelope.key, list(envelope.headers), time), headers, sink)


def _fitting(original: Outgoing, explained: list[tuple[str, bytes | None]], sink: TopicSink) -> Outgoing:
    """A message with headers that explain it, without what the topic would refuse."""
    value, key, headers, time = original
    sizes = {"value": len(value or b""), "headers": header_bytes(headers), "key": len(key or b"")}
    made = Outgoing(value, key, [*(headers or ()), *explained], time)
    while sizes and sink.too_large(made):
        largest = max(sizes, key=sizes.__getitem__)
        explained = [*explained, *_prefixed({f"{largest}.omitted": f"{sizes.pop(largest)} bytes"})]
        made = Outgoing(
            value if "value" in sizes else None,
            key if "key" in sizes else None,
            [*((headers or ()) if "headers" in sizes else ()), *explained],
            time,
        )
    return made


def _value(message: "Message", mask: MaskValue | None) -> bytes | None:
    value: bytes | None = message.value()
    return value if mask is None else mask(value)


def dead_letter_batch(
    messages: Sequence["Message"], letters: Sequence[DeadLetter], mask: MaskValue | None = None
) -> pa.RecordBatch:
    """Dead letters as `(n,)` rows of `DEAD_LETTER_SCHEMA`; `mask` masks their values."""
    rows = []
    for letter in letters:
        message = messages[letter.row]
        rows.append(
            {
                "topic": message.topic(),
                "partition": message.partition(),
                "offset": message.offset(),
                "timestamp": None if (time := message.timestamp()[1]) == NO_TIMESTAMP else time,
                "key": message.key(),
                "value": _value(message, mask),
                "headers": [{"name": name, "value": value} for name, value in readable_headers(message)[0]],
                "stage": letter.stage,
                "reason": letter.reason,
            }
        )
    return pa.RecordBatch.from_pylist(rows, DEAD_LETTER_SCHEMA)
