"""Rows that could not be embedded, as JSON lines that a person can read."""

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from encoder.store.objects import open_objects
from pipelines.records.bad_rows import BadRow

__all__ = ["FOLDER", "DeadLetters", "bad_row_id", "write_dead_letters"]

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


def bad_row_id(bad: BadRow) -> str:
    """The id of a bad row, as of a record: where it stood."""
    return f"{bad.file}:{bad.row}"


def write_dead_letters(uri: str, rows: Sequence[BadRow]) -> None:
    """Write bad rows to a folder, one file for the rows of an arrival; the same rows make the same file.

    Args:
        uri: of the folder, in which they go to `dead_letters/`.
        rows: of one source.
    """
    if rows:
        name = hashlib.sha256("\n".join(map(bad_row_id, rows)).encode()).hexdigest()[:20]
        DeadLetters(uri).write(name, rows)
