"""Lines of text from files, pipes and standard input, as Arrow arrays; empty lines are lines too."""

import fcntl
import stat
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from encoder.errors import InputError
from pipelines.formats.csv_guess import guess_newline
from pipelines.formats.row_boundaries import Block, Lines, blocks
from pipelines.formats.signatures import why_no_text
from pipelines.formats.text import TEXT, TextDecoder
from pipelines.records.encodings import UTF8, detect_encoding, to_utf8
from pipelines.records.utf8 import BOM
from pipelines.sources.files.byte_stream import READ_BYTES, ByteRange
from pipelines.sources.files.discovery import InputFile, find_inputs
from pipelines.sources.files.filesystem import reading

__all__ = ["STANDARD_INPUT", "LineReader", "LineSource", "find_sources"]

STANDARD_INPUT = "-"
_SCHEMA = pa.schema([pa.field(TEXT, pa.string())])


@dataclass(frozen=True)
class LineSource:
    """Something to read lines from.

    Attributes:
        name: what messages call it.
        file: the file, compressed or not; None for standard input and for a pipe with a name.
        encoding: what the user says; None goes by the first bytes.
    """

    name: str
    file: InputFile | None = None
    encoding: str | None = None

    def pieces(self) -> tuple[Iterator[bytes], Lines, str]:
        """The bytes, decompressed and in UTF-8, what finds lines in them, and their encoding.

        A pipe gives what it holds as soon as there is something.
        """
        stored = self._stored()
        head = next(stored, b"")
        if why := why_no_text(head):
            raise InputError(f"cannot read {self.name}: {why}")
        encoding = detect_encoding(head, self.encoding or UTF8)
        newline = guess_newline(b"".join(to_utf8(iter([head]), encoding)))
        return to_utf8(chain([head], stored), encoding), Lines(newline), encoding

    def _stored(self) -> Iterator[bytes]:
        if self.file is not None:
            with ByteRange(self.file, 0, self.file.size) as data:
                yield from data
        elif self.name == "standard input":
            yield from _pipe(sys.stdin.buffer)
        else:
            with Path(self.name).open("rb") as file:
                yield from _pipe(file)


class LineReader:
    """Reads the lines of some sources, one after the other.

    A line ends at a line feed or at a carriage return with a line feed; the last one may end with its
    source. A byte order mark at the beginning of a source is not part of its first line.

    Args:
        sources: what to read.
        replace: whether bytes that are not UTF-8 become U+FFFD; they are an error otherwise.

    Attributes:
        n_bytes: read so far, decompressed.
        n_lines: read so far.
        n_replaced: lines so far with bytes that were replaced.
        guessed: the encodings of sources so far that are not UTF-8, as a byte order mark or NUL bytes say.
    """

    def __init__(self, sources: Sequence[LineSource], *, replace: bool = False) -> None:
        self._sources = sources
        self._replace = replace
        self.n_bytes = self.n_lines = self.n_replaced = 0
        self.guessed: dict[str, str] = {}

    def __iter__(self) -> Iterator[pa.StringArray]:
        """Read the lines, some thousands at a time.

        Raises:
            InputError: a source cannot be read, a line is not UTF-8 or is longer than 128 MiB.
            StoreUnavailable: the object store does not answer.
        """
        waits = any(source.file is None for source in self._sources)
        yield from self._read() if waits else _read_ahead(self._read())

    def _read(self) -> Iterator[pa.StringArray]:
        for source in self._sources:
            with reading(source.name):
                yield from self._lines(source)

    def _lines(self, source: LineSource) -> Iterator[pa.StringArray]:
        decode = TextDecoder(source.name, _SCHEMA)
        before = self.n_lines
        pieces, rows, encoding = source.pieces()
        if encoding != UTF8 and source.encoding is None:
            self.guessed[source.name] = encoding
        for whole in blocks(pieces, rows, source.name):
            has_mark = self.n_lines == before and whole.data.startswith(BOM)
            block = Block(whole.data, len(BOM), whole.ends) if has_mark else whole
            batch, _, bad = decode(block)
            if bad:
                batch = self._replaced(block, bad, source.name, self.n_lines - before, decode)
            self.n_bytes += block.n_bytes
            self.n_lines += len(block)
            yield batch.column(0)

    def _replaced(
        self, block: Block, bad: dict[int, str], name: str, lines_before: int, decode: TextDecoder
    ) -> pa.RecordBatch:
        if not self._replace:
            row, reason = min(bad.items())
            raise InputError(
                f"{name}, line {lines_before + row + 1}: {reason}. Set --encoding, as in cp1252, "
                "or --invalid-utf8 replace"
            )
        self.n_replaced += len(bad)
        text = block.data[block.start : block.ends[-1]].decode("utf-8", "replace").encode()
        [again] = blocks(iter([text]), Lines(), name)
        batch, _, _ = decode(again)
        return batch


def find_sources(names: Sequence[str], encoding: str | None = None) -> list[LineSource]:
    """What the arguments of a command name; nothing and `-` are standard input.

    Args:
        names: files, folders, globs, URIs, pipes with a name.
        encoding: of all of them; None goes by the first bytes of each.

    Raises:
        InputError: nothing is there, or a file does not hold lines.
        ConfigurationError: a URI's scheme is unknown.
    """
    found = [source for name in names or [STANDARD_INPUT] for source in _find(name)]
    return [replace(source, encoding=encoding) for source in found]


def _find(name: str) -> list[LineSource]:
    if name == STANDARD_INPUT:
        return [LineSource("standard input")]
    with suppress(OSError, ValueError):  # not a path of this machine
        mode = Path(name).stat().st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            return [LineSource(name)]
    files = find_inputs(name, "text")
    for file in files:
        if file.path.endswith((".parquet", ".pq")):
            raise InputError(f"{file.path} is Parquet, not lines of text: use millstream backfill")
    return [LineSource(file.path, file) for file in files]


def _read_ahead(batches: Iterator[pa.StringArray]) -> Iterator[pa.StringArray]:
    """Read the next batch in another thread while the caller works on this one."""
    with ThreadPoolExecutor(1, "millstream-read") as executor:
        following = executor.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = executor.submit(next, batches, None)
            yield batch


def _pipe(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of a pipe; a large one, where the system allows it, so that batches are large too."""
    with suppress(OSError, AttributeError):
        fcntl.fcntl(file.fileno(), fcntl.F_SETPIPE_SZ, READ_BYTES)
    while data := file.read1(READ_BYTES):  # type: ignore[attr-defined] # every buffered file has it
        yield data
