"""Records that cannot be read or enriched, and why.

`pipelines.sinks.dead_letters` writes them to files, `pipelines.sinks.dead_letter_messages` to topics.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.records.python_values import python_value

__all__ = [
    "ID",
    "BadRow",
    "DeadLetter",
    "Envelope",
    "Headers",
    "Stage",
    "fields_of",
    "good_rows",
    "one_line",
    "record_of",
]

ID = "millstream_id"
"""The header or attribute with a record's id."""

Stage = Literal["VALUE_CONVERTER", "TRANSFORMATION", "TASK_PUT"]
"""Kafka Connect's names for reading a value, making its text, and writing."""


_LONGEST = 1000  # characters of a reason: errors may quote the whole record


def one_line(error: BaseException) -> str:
    """An error's text without line breaks, cut if it is long; what is no Unicode in it is escaped."""
    text = " ".join(str(error).split()).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


Headers = tuple[tuple[str, bytes | None], ...]
"""The headers or attributes of a message."""


class Envelope(NamedTuple):
    """What a message has beside its value.

    Attributes:
        key: its key.
        headers: its headers.
        timestamp: milliseconds since the epoch, or None if it has none.
    """

    key: bytes | None = None
    headers: Headers = ()
    timestamp: int | None = None


@dataclass(frozen=True)
class BadRow:
    """A row that could not be read.

    Attributes:
        file: the path of its file, or `TOPIC/PARTITION`.
        row: its number in the file, from 1, or its offset in the partition.
        reason: what is wrong with it, in one line.
        record: its bytes in the file, without the line break; None for a null value of a message.
        envelope: what the message has beside its value, or None for a row of a file.
        rest: whether it stands for all rows from this one on, because the file cannot be read any further.
    """

    file: str
    row: int
    reason: str
    record: bytes | None
    envelope: Envelope | None = None
    rest: bool = False


def good_rows(n_rows: int, bad: Collection[int]) -> NDArray[np.int64]:
    """`(n_good,)` int64, ascending: which of the first `n_rows` rows are not bad."""
    if not bad:
        return np.arange(n_rows)
    is_good = np.ones(n_rows, np.bool_)
    is_good[list(bad)] = False
    return np.flatnonzero(is_good)


def record_of(batch: pa.RecordBatch, row: int) -> bytes:
    """A row of a batch as JSON."""
    return msgspec.json.encode(fields_of(batch, row), enc_hook=str)


def fields_of(batch: pa.RecordBatch, row: int) -> dict[str, Any]:
    """A row of a batch as a dict."""
    return {name: _value(batch.column(name)[row]) for name in batch.schema.names}


def _value(scalar: pa.Scalar) -> Any:
    """A value in Python; text that is not UTF-8 is escaped."""
    try:
        return python_value(scalar)
    except UnicodeDecodeError:
        if isinstance(scalar, pa.StringScalar):
            return scalar.as_buffer().to_pybytes().decode("utf-8", "backslashreplace")
        return "not UTF-8"
    except (ValueError, OverflowError):
        return f"a value of {scalar.type} that Python cannot hold"


class DeadLetter(NamedTuple):
    """A record that cannot be enriched.

    Attributes:
        row: its position in the batch of messages.
        stage: where it failed.
        reason: what is wrong, in one line.
        error: the name of the error's class.
        is_delete: whether it is a delete, which no error budget counts.
    """

    row: int
    stage: Stage
    reason: str
    error: str = "encoder.errors.InputError"
    is_delete: bool = False
