"""JSON lines before a job: a sample from the head of each file, and a search for a rare field."""

import json
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

__all__ = ["sample", "search"]

SAMPLE_FILES, SAMPLE_BYTES, SAMPLE_ROWS = 64, 1 << 20, 10_000


def sample(files: Sequence[InputFile]) -> Seen:
    """The values at the heads of at most 64 files, evenly spread over `files`.

    Raises:
        InputError: there are lines, but no JSON objects.
    """
    seen = Seen()
    odd = ""
    for i in range(min(len(files), SAMPLE_FILES)):
        file = files[i * len(files) // min(len(files), SAMPLE_FILES)]
        n_bytes = 0
        for n_rows, line in enumerate(_lines(file)):
            n_bytes += len(line)
            record = _object(line)
            if record is not None:
                seen.add_object(record)
            else:
                odd = odd or file.path
            if n_bytes >= SAMPLE_BYTES or n_rows + 1 >= SAMPLE_ROWS:
                break
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
        for line in _lines(file):
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


def _lines(file: InputFile) -> Iterator[bytes]:
    """The lines of a file that are not blank."""
    file = with_dialect(file)
    with reading(file.path), ByteRange(file, 0, file.size) as data:
        for block in blocks(iter(data), file.dialect.rows(csv=False), file.path):
            for start, end in zip(block.starts.tolist(), block.ends.tolist(), strict=True):
                if line := block.data[start:end].removeprefix(BOM).strip():
                    yield line


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        record = msgspec.json.decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return record if isinstance(record, dict) else None
