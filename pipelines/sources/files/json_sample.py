"""JSON lines before a job: a sample from the head of each file, and a search for a rare field."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from encoder.errors import InputError
from pipelines.formats.json_inference import Seen
from pipelines.formats.row_boundaries import blocks
from pipelines.records.utf8 import BOM
from pipelines.sources.files.byte_stream import ByteRange
from pipelines.sources.files.dialects import with_dialect
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import reading

__all__ = ["MAX_DEPTH", "sample", "search"]

MAX_DEPTH = 60
"""Deeper values cannot travel between the steps of a job: Arrow's IPC format reads 64 levels."""

_TOKEN = re.compile(rb'("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[{}\[\]]')
SAMPLE_FILES, SAMPLE_BYTES, SAMPLE_ROWS = 64, 1 << 20, 10_000


def sample(files: Sequence[InputFile], damaged: list[InputError]) -> Seen:
    """The values at the heads of at most 64 files, evenly spread over `files`.

    Args:
        files: JSON lines.
        damaged: why files cannot be read to their end is appended to it.

    Raises:
        InputError: a file is a JSON array, or there are lines, but no JSON objects.
    """
    seen = Seen()
    odd = ""
    for i in range(min(len(files), SAMPLE_FILES)):
        file = files[i * len(files) // min(len(files), SAMPLE_FILES)]
        n_bytes = n_objects = 0
        first = b""
        for n_rows, line in enumerate(_lines(file, damaged)):
            n_bytes += len(line)
            first = first or line
            record = _object(line)
            if record is not None:
                seen.add_object(record)
                n_objects += 1
            if n_bytes >= SAMPLE_BYTES or n_rows + 1 >= SAMPLE_ROWS:
                break
        if first.startswith(b"[") and (first[1:].lstrip()[:1] in (b"", b"{")):
            raise InputError(f"{file.path} is a JSON array: write one object a line, as jq -c '.[]' does")
        odd = odd or (file.path if first and not n_objects else "")
    if odd and not seen.fields:
        raise InputError(
            f"no line at the head of {odd} is a JSON object: write one object a line, as jq -c does"
        )
    return seen


def search(files: Sequence[InputFile], name: str) -> dict[str, Any] | None:
    """The first record that has the field `name`, without its other fields, or None."""
    last = name.rsplit(".", 1)[-1]
    keys = {json.dumps(last, ensure_ascii=ascii_only).encode() for ascii_only in (False, True)}
    for file in files:
        for line in _lines(file, []):
            if any(key in line for key in keys):
                record = _object(line)
                found = None if record is None else _only(record, name)
                if found is not None:
                    return found
    return None


def _only(record: dict[str, Any], name: str) -> dict[str, Any] | None:
    """A record with only the field of this dotted name."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        head, rest = ".".join(parts[:length]), ".".join(parts[length:])
        if head in record:
            if length == len(parts):
                return {head: record[head]}
            if isinstance(record[head], dict) and (below := _only(record[head], rest)) is not None:
                return {head: below}
    return None


def _lines(file: InputFile, damaged: list[InputError]) -> Iterator[bytes]:
    """The lines of a file that are not blank, up to where it cannot be read."""
    try:
        file = with_dialect(file)
        with reading(file.path), ByteRange(file, 0, file.size) as data:
            for block in blocks(iter(data), file.dialect.rows(csv=False), file.path):
                for start, end in zip(block.starts.tolist(), block.ends.tolist(), strict=True):
                    if line := block.data[start:end].removeprefix(BOM).strip():
                        yield line
    except InputError as error:
        damaged.append(error)


def _object(line: bytes) -> dict[str, Any] | None:
    """An object; values that are nested too deep are null, so that they get no type of their own."""
    try:
        record = msgspec.json.decode(line)
    except RecursionError:
        return dict.fromkeys(_names(line))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if not isinstance(record, dict):
        return None
    return {name: None if _is_deep(value) else value for name, value in record.items()}


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def _names(line: bytes) -> list[str]:
    """The names of an object's own fields, if it is nested so deep that no parser reads it."""
    depth, names = 0, []
    for token in _TOKEN.finditer(line):
        if token[0] in (b"{", b"["):
            depth += 1
        elif token[0] in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and token[1]:
            names.append(json.loads(token[1]))
    return names
