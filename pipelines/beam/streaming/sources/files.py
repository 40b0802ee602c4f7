"""An endless source of the files that appear at a place, read once each as record batches.

A file must appear whole: write it elsewhere, or under a name that begins with `_` or `.`, and rename it.
Names are remembered, so a file that changes afterwards is not read again.
"""

import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam import coders
from apache_beam.io.unbounded_source import CheckpointMark

from encoder.errors import InputError
from pipelines.beam.streaming.batch import Arrival, Windows
from pipelines.beam.streaming.event_time import OPEN, Watermark, WatermarkPolicy
from pipelines.beam.streaming.interfaces import ArrivalReader, Source
from pipelines.formats import FileFormat
from pipelines.records.bad_rows import BadRow
from pipelines.sources.files.discovery import InputFile, find_inputs
from pipelines.sources.files.filesystem import locate
from pipelines.sources.files.reader import Chunk, read_split
from pipelines.sources.files.splits import split_file

__all__ = ["FileSource"]

_CHUNK_ROWS = 8192


@dataclass(frozen=True)
class FileSource(Source):
    """Files of one place; see `UnboundedSource`.

    Attributes:
        pattern: file, folder or glob.
        format: of the files, or None to go by their extensions.
        records: the schema of their records.
        windows: how the time of a record is found; a file's own time is that of its last change.
        policy: of the watermark.
        every: seconds between two looks.
        ends: whether the source ends when all files that are there have been read.
        part: which of the `parts` parallel readers this is; a file belongs to one of them by its name.
        parts: see `part`.
    """

    pattern: str
    format: FileFormat | None
    records: pa.Schema
    windows: Windows
    policy: WatermarkPolicy
    every: float = 1.0
    ends: bool = False
    part: int = 0
    parts: int = 1

    @property
    def place(self) -> str:
        """What the command line calls it."""
        return f"files:{self.pattern}"

    @property
    def poll_seconds(self) -> float:
        """Half the time between two looks: more often, there is nothing to be found."""
        return self.every / 2

    def split(self, desired_num_splits: int, options: Any = None) -> list["FileSource"]:  # noqa: ARG002 - Beam's
        """The parallel readers."""
        return [replace(self, part=part) for part in range(self.parts)]

    def create_reader(self, options: Any, checkpoint_mark: CheckpointMark | None) -> "_Reader":  # noqa: ARG002 - Beam's
        """A reader behind a mark."""
        return _Reader(self, checkpoint_mark if isinstance(checkpoint_mark, FilesRead) else FilesRead())

    def get_checkpoint_mark_coder(self) -> coders.Coder:
        """Marks are pickled."""
        return coders.PickleCoder()


@dataclass(frozen=True)
class FilesRead(CheckpointMark):
    """How far a reader is.

    Attributes:
        done: files that have been read, sorted; those that are gone are forgotten.
        path: the file that is being read, or None.
        chunks: how many chunks of it have been read.
        watermark: microseconds since the epoch.
    """

    done: tuple[str, ...] = ()
    path: str | None = None
    chunks: int = 0
    watermark: int = OPEN


class _Reader(ArrivalReader):
    def __init__(self, source: FileSource, mark: FilesRead) -> None:
        super().__init__()
        self._source = source
        self._mark = mark
        self._done = set(mark.done)
        self._watermark = Watermark(source.policy, mark.watermark)
        self._waiting: list[InputFile] = []
        self._chunks: Iterator[Chunk] | None = None
        self._looked = 0.0

    @property
    def _micros(self) -> int:
        return self._watermark.micros

    def advance(self) -> bool:
        self._current = None
        while self._current is None:
            if self._chunks is None and not self._next_file():
                self._watermark.wait()
                return False
            self._read()
        self._watermark.see(self._current.latest)
        return True

    def _next_file(self) -> bool:
        """Begin the next file; False if there is none now."""
        if not self._waiting:
            if time.monotonic() - self._looked < self._source.every:
                return False
            self._waiting = self._look()
            self._looked = time.monotonic()
            if not self._waiting:
                self._ended = self._source.ends
                return False
        file = self._waiting.pop(0)
        resumed = self._mark.chunks if file.path == self._mark.path else 0
        self._mark = replace(self._mark, path=file.path, chunks=resumed)
        self._chunks = self._chunks_of(file, resumed)
        return True

    def _look(self) -> list[InputFile]:
        """The files that have not been read, the one that was begun first, then the oldest."""
        try:
            found = find_inputs(self._source.pattern, self._source.format)
        except InputError:  # nothing is there
            found = []
        mine = [
            file for file in found if zlib.crc32(file.path.encode()) % self._source.parts == self._source.part
        ]
        self._done &= {file.path for file in mine}
        new = [file for file in mine if file.path not in self._done]
        ages = {file.path: (file.path != self._mark.path, _changed(file), file.path) for file in new}
        return sorted(new, key=lambda file: ages[file.path])

    def _chunks_of(self, file: InputFile, skip: int) -> Iterator[Chunk]:
        self._time = _changed(file)
        self._path = file.path
        chunks = (
            chunk
            for split in split_file(file)
            for chunk in read_split(split, self._source.records, _CHUNK_ROWS)
        )
        return (chunk for number, chunk in enumerate(chunks) if number >= skip)

    def _read(self) -> None:
        """Read the next chunk of the file, or find that it has ended."""
        assert self._chunks is not None
        try:
            chunk = next(self._chunks, None)
            if chunk is not None:
                self._current = self._arrival(chunk)
        except InputError as error:  # a damaged file does not stop the stream
            bad = BadRow(self._path, 0, f"the rest of the file cannot be read: {error}", b"")
            nothing = Chunk(
                pa.RecordBatch.from_pylist([], self._source.records), np.empty(0, np.int64), (bad,), 0, 0
            )
            self._current, chunk = self._arrival(nothing), None
        if chunk is None:
            self._done.add(self._path)
            self._mark = replace(self._mark, path=None, chunks=0)
            self._chunks = None
        else:
            self._mark = replace(self._mark, chunks=self._mark.chunks + 1)

    def _arrival(self, chunk: Chunk) -> Arrival:
        own = np.full(chunk.batch.num_rows, self._time, np.int64)
        times = self._source.windows.times(chunk.batch, own)
        watermark = self._watermark.micros
        return Arrival(self._path, chunk.batch, chunk.rows, times, chunk.bad, watermark, self._time)

    def get_checkpoint_mark(self) -> FilesRead:
        return replace(self._mark, done=tuple(sorted(self._done)), watermark=self._watermark.micros)


def _changed(file: InputFile) -> int:
    """When a file was changed last, microseconds since the epoch."""
    filesystem, inside = locate(file.path)
    nanoseconds = filesystem.get_file_info(inside).mtime_ns
    return int(nanoseconds or 0) // 1000
