"""Rows that could not be embedded, as JSON lines."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from encoder.errors import NotInStore
from encoder.store.objects import open_objects
from pipelines.records.bad_rows import BadRow

__all__ = ["FOLDER", "DeadLetters", "bad_row_id", "write_dead_letters"]

FOLDER = "dead_letters"


class DeadLetters:
    r"""Writes bad rows to `dead_letters/` under one URI, one file for each file of the output.

    Each line holds `file`, `row` (from 1), `reason` and `record`, the original bytes; those that are not
    UTF-8 are escaped as `\xNN`. That of a message also has its `key`, `headers` (names and values) and
    `timestamp` (milliseconds since the epoch), and `record` is null where its value is. File names begin with
    `_`, so that readers of the Parquet files skip them.
    """

    def __init__(self, uri: str) -> None:
        self._objects = open_objects(uri)

    def write(self, part: str, rows: Iterable[BadRow]) -> None:
        """Write the bad rows of an output file, all or nothing; no rows make no file."""
        self._write(part, [_line(bad) for bad in sorted(rows, key=lambda bad: bad.row)])

    def add(self, part: str, rows: Sequence[BadRow]) -> None:
        """Write the bad rows of an output file beside those that were written before, each once."""
        if not rows:
            return
        try:
            written: list[dict[str, Any]] = msgspec.json.Decoder().decode_lines(
                self._objects.read(_key(part))
            )
        except NotInStore:
            written = []
        known = {_identity(line) for line in written}
        new = [line for line in map(_line, rows) if _identity(line) not in known]
        if new:
            self._write(part, sorted([*written, *new], key=_identity))

    def _write(self, part: str, lines: list[dict[str, Any]]) -> None:
        if lines:
            self._objects.overwrite(_key(part), msgspec.json.Encoder().encode_lines(lines))


def _key(part: str) -> str:
    return f"{FOLDER}/_{part.removesuffix('.parquet')}.jsonl"


def _identity(line: dict[str, Any]) -> tuple[str, int, str]:
    return line["file"], line["row"], line["record"] or ""


def _line(bad: BadRow) -> dict[str, Any]:
    line: dict[str, Any] = {"file": bad.file, "row": bad.row, "reason": bad.reason}
    line["record"] = _text(bad.record)
    if (envelope := bad.envelope) is not None:
        headers = [(name, _text(value)) for name, value in envelope.headers]
        line |= {"key": _text(envelope.key), "headers": headers, "timestamp": envelope.timestamp}
    return line


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "backslashreplace")


def bad_row_id(bad: BadRow) -> str:
    """The id of a bad row: its source and its position in it, as for any record."""
    return f"{bad.file}:{bad.row}"


def write_dead_letters(uri: str, rows: Sequence[BadRow]) -> None:
    """Write bad rows of one batch to `dead_letters/` under a URI; the same rows make the same file."""
    if rows:
        name = hashlib.sha256("\n".join(map(bad_row_id, rows)).encode()).hexdigest()[:20]
        DeadLetters(uri).write(name, rows)
