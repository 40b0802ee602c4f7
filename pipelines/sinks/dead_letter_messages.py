"""Dead letters as messages and as columns, in Kafka Connect's convention.

A message keeps the record's key, value and headers, and gets headers `__connect.errors.…` that say where the
record came from and what is wrong. Parquet files have the same in columns.
"""

from collections.abc import Mapping, Sequence
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
    "bad_row_message",
    "dead_letter_batch",
    "dead_letter_headers",
    "dead_letter_message",
]

_PREFIX = "__connect.errors."
_CLASS = "pipelines.kafka.worker.Worker"  # on the wire since the first version: it does not follow the code


def dead_letter_headers(bad: BadRow) -> list[tuple[str, bytes | None]]:
    """The headers of a message with a row's original bytes: where it came from and what is wrong."""
    about = {
        **_place(bad),
        "connector.name": "millstream",
        "exception.class.name": "encoder.errors.InputError",
        "exception.message": bad.reason,
    }
    return [(ID, bad_row_id(bad).encode()), *_prefixed(about)]


def _place(bad: BadRow) -> dict[str, str]:
    """Where a message came from, `TOPIC/PARTITION`, or a row of one, `TOPIC/PARTITION/OFFSET`."""
    topic, *numbers = bad.file.split("/")
    if not all(map(str.isdecimal, numbers)):
        return {}
    if len(numbers) == 1:
        return {"topic": topic, "partition": numbers[0], "offset": str(bad.row)}
    if len(numbers) == 2 and bad.envelope is not None:
        return {"topic": topic, "partition": numbers[0], "offset": numbers[1], "row": str(bad.row)}
    return {}


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
    message: "Message", letter: DeadLetter, sink: TopicSink, value: bytes | None, item: int | None = None
) -> Outgoing:
    """A dead letter as a message, without what the topic does not take; a header names what was left out.

    Args:
        message: the message that failed.
        letter: what is wrong with it.
        sink: the topic.
        value: of the record: the message's, or the row alone; perhaps masked.
        item: the number of the row in the message, from 0; None if the message is one record.
    """
    about = {
        "topic": str(message.topic()),
        "partition": str(message.partition()),
        "offset": str(message.offset()),
        **({} if item is None else {"row": str(item)}),
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
    original = Outgoing(value, message.key(), [*headers], message.timestamp()[1])
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


def dead_letter_batch(
    messages: Sequence["Message"],
    letters: Sequence[DeadLetter],
    values: Sequence[bytes | None],
    items: Sequence[int | None] | None = None,
) -> pa.RecordBatch:
    """Dead letters as `(n,)` rows of `DEAD_LETTER_SCHEMA`.

    Args:
        messages: those that the letters are about, by their `row`.
        letters: what is wrong.
        values: `(n,)`, of the records: the messages', or the rows alone; perhaps masked.
        items: `(n,)`, for a column `row` more: the number of each row in its message.
    """
    rows = []
    for letter, value in zip(letters, values, strict=True):
        message = messages[letter.row]
        rows.append(
            {
                "topic": message.topic(),
                "partition": message.partition(),
                "offset": message.offset(),
                "timestamp": None if (time := message.timestamp()[1]) == NO_TIMESTAMP else time,
                "key": message.key(),
                "value": value,
                "headers": [{"name": name, "value": one} for name, one in readable_headers(message)[0]],
                "stage": letter.stage,
                "reason": letter.reason,
            }
        )
    batch = pa.RecordBatch.from_pylist(rows, DEAD_LETTER_SCHEMA)
    return batch if items is None else batch.append_column("row", pa.array(items, pa.int64()))
