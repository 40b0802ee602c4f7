"""Dead letters as messages and as columns, in Kafka Connect's convention.

A message keeps the record's key, value and headers, and gets headers `__connect.errors.…` that say where the
record came from and what is wrong. Parquet files have the same in columns.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.records.bad_rows import ID, BadRow, DeadLetter
from pipelines.sinks.dead_letters import bad_row_id
from pipelines.sinks.kafka import Outgoing, TopicSink, header_bytes

__all__ = ["DEAD_LETTER_SCHEMA", "dead_letter_batch", "dead_letter_headers", "dead_letter_message"]

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


def _headers_of(message: Any) -> tuple[list[tuple[str, bytes | None]], str | None]:
    """The headers of a message; none, and why, if they cannot be read."""
    try:
        return list(message.headers() or ()), None
    except (SystemError, UnicodeError):
        return [], "a header's name is not UTF-8"


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


def dead_letter_message(message: Any, letter: DeadLetter, sink: TopicSink) -> Outgoing:
    """A dead letter as a message, without what the topic does not take; a header names what was left out."""
    about = {
        "topic": message.topic(),
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
    headers, hindrance = _headers_of(message)
    explained = _prefixed(about | ({"headers.omitted": hindrance} if hindrance else {}))
    key, value = message.key(), message.value()
    sizes = {"value": len(value or b""), "headers": header_bytes(headers), "key": len(key or b"")}
    made = Outgoing(value, key, [*headers, *explained])
    while sizes and sink.too_large(made):
        largest = max(sizes, key=sizes.__getitem__)
        explained += _prefixed({f"{largest}.omitted": f"{sizes.pop(largest)} bytes"})
        made = Outgoing(
            value if "value" in sizes else None,
            key if "key" in sizes else None,
            [*(headers if "headers" in sizes else ()), *explained],
        )
    return made


def dead_letter_batch(messages: Sequence[Any], letters: Sequence[DeadLetter]) -> pa.RecordBatch:
    """Dead letters as `(n,)` rows of `DEAD_LETTER_SCHEMA`."""
    rows = []
    for letter in letters:
        message = messages[letter.row]
        rows.append(
            {
                "topic": message.topic(),
                "partition": message.partition(),
                "offset": message.offset(),
                "timestamp": message.timestamp()[1],
                "key": message.key(),
                "value": message.value(),
                "headers": [{"name": name, "value": value} for name, value in _headers_of(message)[0]],
                "stage": letter.stage,
                "reason": letter.reason,
            }
        )
    return pa.RecordBatch.from_pylist(rows, DEAD_LETTER_SCHEMA)
