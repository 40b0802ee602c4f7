"""Rows that could not be embedded, as JSON lines that a person can read."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pyarrow as pa

from encoder.store.objects import open_objects
from pipelines.records.decode import BadRow

__all__ = ["FOLDER", "DeadLetters", "fields_of", "record_of"]

FOLDER = "dead_letters"


class DeadLetters:
    r"""Writes bad rows to `dead_letters/` under one URI, one file for each part of the output.

    Each line holds `file`, `row` (from 1), `reason` and `record`, the original bytes with what is not UTF-8
    escaped as `\xNN`. File names begin with `_`, so that readers of the Parquet files pass over them.
    """

    def __init__(self, uri: str) -> None:
        self._objects = open_objects(uri)

    def write(self, part: str, rows: Iterable[BadRow]) -> None:
        """Write the bad rows of a part, whole or not at all; nothing for none.

        Args:
            part: the name of the part.
            rows: what is wrong.
        """
        lines = [
            {
                "file": bad.file,
                "row": bad.row,
                "reason": bad.reason,
                "record": bad.record.decode("utf-8", "backslashreplace"),
            }
            for bad in sorted(rows, key=lambda bad: bad.row)
        ]
        if lines:
            name = part.removesuffix(".parquet")
            self._objects.overwrite(f"{FOLDER}/_{name}.jsonl", msgspec.json.Encoder().encode_lines(lines))


def record_of(batch: pa.RecordBatch, row: int) -> bytes:
    """A row of a batch as JSON."""
    return msgspec.json.encode(fields_of(batch, row), enc_hook=str)


def fields_of(batch: pa.RecordBatch, row: int) -> dict[str, Any]:
    """A row of a batch as a dict."""
    return {name: _value(batch.column(name)[row]) for name in batch.schema.names}


def _value(scalar: pa.Scalar) -> Any:
    """A value as Python's; of a text that is not UTF-8 the bytes, escaped."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        if isinstance(scalar, pa.StringScalar):
            return scalar.as_buffer().to_pybytes().decode("utf-8", "backslashreplace")
        return "not UTF-8"
