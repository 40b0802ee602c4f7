"""Dead letters as messages and as columns, in Kafka Connect's convention.

A message keeps the record's key, value and headers, and gets headers `__connect.errors.…` that say where the
record came from and what is wrong. Parquet files have the same in columns.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.records.bad_rows import ID, BadRow, DeadLetter
from pipelines.sinks.dead_letters import bad_row_id
from pipelines.sinks.kafka import Outgoing, TopicSink

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
    return [(f"{_PREFIX}{name}", value.encode()) for name, value in about.items()]


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
    """A dead letter as a message; a value too large for the topic is left out, and a header says so."""
    about = {
        "topic": message.topic(),
        "partition": str(message.partition()),
        "offset": str(message.offset()),
        "connector.name": "millstream",
        "task.id": "0",
        "stage": letter.stage,
        "class.name": _CLASS,
        "exception.class.name": "encoder.errors.InputError",
        "exception.message": letter.reason,
        "exception.stacktrace": f"encoder.errors.InputError: {letter.reason}",
    }
    explained = _prefixed(about)
    headers = [*(message.headers() or ()), *explained]
    whole = Outgoing(message.value(), message.key(), headers)
    if not sink.too_large(whole):
        return whole
    omitted = (f"{_PREFIX}value.omitted", f"{len(message.value() or b'')} bytes".encode())
    key = message.key() if len(message.key() or b"") < sink.max_bytes // 2 else None
    return Outgoing(None, key, [*explained, omitted])


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
                "headers": [{"name": name, "value": value} for name, value in message.headers() or ()],
                "stage": letter.stage,
                "reason": letter.reason,
            }
        )
    return pa.RecordBatch.from_pylist(rows, DEAD_LETTER_SCHEMA)
