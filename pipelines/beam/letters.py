"""Dead letters of streams to topics: messages in Kafka Connect's convention, or files of a folder."""

import hashlib
from collections.abc import Sequence

from pipelines.beam.messages import ID
from pipelines.records.decode import BadRow
from pipelines.sinks.dead_letters import DeadLetters

__all__ = ["letter_headers", "letter_id", "write_letters"]

_PREFIX = "__connect.errors."


def letter_id(bad: BadRow) -> str:
    """The id of a bad row, as of a record: where it stood."""
    return f"{bad.file}:{bad.row}"


def letter_headers(bad: BadRow) -> list[tuple[str, bytes | None]]:
    """Where a row stood and what is wrong with it, as the headers of a message with its original bytes."""
    topic, slash, partition = bad.file.rpartition("/")
    place = {"topic": topic, "partition": partition, "offset": str(bad.row)}
    about = {
        **(place if slash and partition.isdecimal() and "/" not in topic else {}),
        "connector.name": "millstream",
        "exception.class.name": "encoder.errors.InputError",
        "exception.message": bad.reason,
    }
    headers = {ID: letter_id(bad), **{f"{_PREFIX}{name}": value for name, value in about.items()}}
    return [(name, value.encode()) for name, value in headers.items()]


def write_letters(uri: str, rows: Sequence[BadRow]) -> None:
    """Write bad rows to a folder, one file for the rows of an arrival; the same rows make the same file.

    Args:
        uri: of the folder, in which they go to `dead_letters/`.
        rows: of one source.
    """
    if rows:
        name = hashlib.sha256("\n".join(map(letter_id, rows)).encode()).hexdigest()[:20]
        DeadLetters(uri).write(name, rows)
