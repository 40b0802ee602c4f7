"""The source `files:GLOB`: files that match a pattern, read once each, now and as new ones appear.

A file must appear complete: write it elsewhere, or under a name that begins with `_` or `.`, and rename it.
The source remembers names, so it does not read a file again that changes later.
"""

import hashlib
import logging
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from apache_beam.io.unbounded_source import CheckpointMark

from encoder.errors import InputError, UnreadableFile
from pipelines.beam.streaming.batch import SourceBatch, Windows
from pipelines.beam.streaming.interfaces import BatchReader, PolledSource
from pipelines.beam.streaming.watermark import OPEN, Watermark, WatermarkPolicy
from pipelines.beam.transforms.metrics import report_damage, report_left_out
from pipelines.formats import FileFormat
from pipelines.formats.dialect import GUESSED, Dialect
from pipelines.kafka.messages import NO_TIMESTAMP
from pipelines.records.event_time import NO_TIME
from pipelines.sources.files.dialects import describe_guesses, with_dialect
from pipelines.sources.files.discovery import InputFile, find_inputs
from pipelines.sources.files.filesystem import locate, open_file, reading
from pipelines.sources.files.reader import Chunk, read_split
from pipelines.sources.files.splits import split_file

__all__ = ["FileSource"]

_CHUNK_ROWS = 8192
_EDGE = 1 << 16  # bytes at each end of a file that tell it from others
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileSource(PolledSource):
    """The files that match a pattern.

    Attributes:
        pattern: file, folder or glob.
        format: the format of the files, or None to go by their extensions.
        schema: the schema of their records.
        windows: windows of event time; a file's own time is its modification time.
        policy: how readers set their watermark.
        poll_seconds: how often to look for new files.
        ends: whether the source ends once all files that are there have been read.
        part: which of the `parts` parallel readers this is; the name of a file decides who reads it.
        parts: how many readers share the files.
        dialect: what the user says about files of text.
        all_fields: whether the columns were meant to hold all fields: values of others are counted.
        strict: whether a file that cannot be read to its end stops the stream.
    """

    pattern: str
    format: FileFormat | None
    schema: pa.Schema
    windows: Windows
    policy: WatermarkPolicy
    poll_seconds: float = 1.0
    ends: bool = False
    part: int = 0
    parts: int = 1
    dialect: Dialect = GUESSED
    all_fields: bool = False
    strict: bool = False

    @property
    def uri(self) -> str:
        """`files:GLOB`."""
        return f"files:{self.pattern}"

    @property
    def poll_interval(self) -> float:
        """Half of `poll_seconds`: polling more often finds nothing."""
        return self.poll_seconds / 2

    def divide(self) -> list["FileSource"]:
        """One source for each parallel reader."""
        return [replace(self, part=part) for part in range(self.parts)]

    def reader(self, checkpoint: CheckpointMark | None) -> "_Reader":
        """A reader that continues from a checkpoint, or starts at the beginning."""
        return _Reader(self, checkpoint if isinstance(checkpoint, FilesRead) else FilesRead())


@dataclass(frozen=True)
class FilesRead(CheckpointMark):
    """What a reader has read so far.

    Attributes:
        done: files that have been read, sorted; without those that have been deleted since.
        path: the file that is being read, or None.
        chunks: how many chunks of it have been read.
        watermark: microseconds since the epoch.
    """

    done: tuple[str, ...] = ()
    path: str | None = None
    chunks: int = 0
    watermark: int = OPEN


class _Reader(BatchReader):
    def __init__(self, source: FileSource, mark: FilesRead) -> None:
        super().__init__()
        self._source = source
        self._mark = mark
        self._done = set(mark.done)
        self._watermark = Watermark(source.policy, mark.watermark)
        self._waiting: list[InputFile] = []
        self._chunks: Iterator[Chunk] | None = None
        self._polled = 0.0
        self._guesses: set[str] = set()  # that were logged
        self._warned: set[str] = set()

    @property
    def _watermark_micros(self) -> int:
        return self._watermark.micros

    def advance(self) -> bool:
        self._current = None
        while self._current is None:
            if self._chunks is None and not self._next_file():
                self._watermark.observe_nothing()
                return False
            self._read()
        self._watermark.observe(self._current.latest)
        return True

    def _next_file(self) -> bool:
        """Open the next file; False if there is none now."""
        if not self._waiting:
            if time.monotonic() - self._polled < self._source.poll_seconds:
                return False
            self._waiting = self._poll()
            self._polled = time.monotonic()
            if not self._waiting:
                self._ended = self._source.ends
                return False
        file = self._waiting.pop(0)
        n_read = self._mark.chunks if file.path == self._mark.path else 0
        self._mark = replace(self._mark, path=file.path, chunks=n_read)
        self._chunks = self._chunks_of(file, n_read)
        return True

    def _poll(self) -> list[InputFile]:
        """The files that have not been read: first the one that was being read, then the oldest."""
        about = self._source.pattern, self._source.format, self._source.dialect
        try:
            found = find_inputs(*about, skip=self._warn)
        except UnreadableFile as error:  # a folder, which may be readable again later
            if self._source.ends:
                raise
            self._warn(error)
            return []
        except InputError:  # no file matches
            found = []
        parts = self._source.parts
        own = [file for file in found if zlib.crc32(file.path.encode()) % parts == self._source.part]
        self._done &= {file.path for file in own}
        new = [file for file in own if file.path not in self._done]
        ages = {file.path: (file.path != self._mark.path, _modified(file), file.path) for file in new}
        return sorted(new, key=lambda file: ages[file.path])

    def _warn(self, error: InputError) -> None:
        """Log once that something is not read."""
        if str(error) not in self._warned:
            self._warned.add(str(error))
            _log.warning("not read: %s", error)

    def _chunks_of(self, file: InputFile, skip: int) -> Iterator[Chunk]:
        self._time = _modified(file)
        self._path = file.path
        self._version = _version(file)
        with suppress(InputError):  # the reader says what is wrong with the file
            file = with_dialect(file)
        for line in describe_guesses([file], self._source.dialect):
            guess = line.removeprefix(file.path)
            if guess not in self._guesses:
                self._guesses.add(guess)
                _log.warning("%s", line)
        chunks = (
            chunk
            for split in split_file(file)
            for chunk in read_split(
                split, self._source.schema, _CHUNK_ROWS, all_fields=self._source.all_fields
            )
        )
        return (chunk for number, chunk in enumerate(chunks) if number >= skip)

    def _read(self) -> None:
        """Read the next chunk of the file, or notice that it has ended."""
        assert self._chunks is not None
        chunk = next(self._chunks, None)
        if chunk is not None:
            self._current = self._batch(chunk)
            report_left_out(chunk.left_out)
            for bad in chunk.bad:
                if bad.rest:
                    self._report_damage(bad.reason)
        if chunk is None:
            self._done.add(self._path)
            self._mark = replace(self._mark, path=None, chunks=0)
            self._chunks = None
        else:
            self._mark = replace(self._mark, chunks=self._mark.chunks + 1)

    def _report_damage(self, reason: str) -> None:
        if self._source.strict:
            raise UnreadableFile(reason)
        _log.warning("%s: %s", self._path, reason)
        report_damage(self._path, reason)

    def _batch(self, chunk: Chunk) -> SourceBatch:
        modified = np.full(chunk.batch.num_rows, self._time, np.int64)
        times = self._source.windows.event_times(chunk.batch, modified)
        watermark = self._watermark.micros
        stamps = None
        if self._source.windows.field is not None:  # the time of the file says nothing of a record
            stamps = np.where(times == NO_TIME, NO_TIMESTAMP, times // 1000)
        batch = SourceBatch(
            self._path,
            chunk.batch,
            chunk.rows,
            times,
            chunk.bad,
            watermark,
            self._time,
            version=self._version,
            timestamps=stamps,
        )
        return batch.timely(self._source.policy.latest())

    def get_checkpoint_mark(self) -> FilesRead:
        return replace(self._mark, done=tuple(sorted(self._done)), watermark=self._watermark.micros)


def _modified(file: InputFile) -> int:
    """The modification time of a file, microseconds since the epoch."""
    filesystem, inside = locate(file.path)
    nanoseconds = filesystem.get_file_info(inside).mtime_ns
    return int(nanoseconds or 0) // 1000


def _version(file: InputFile) -> str:
    """Tells a file from another one that had its name: its size, and a digest of its begin and its end.

    A copy that comes back from an archive is the same file, though its modification time is another one.
    """
    try:
        with reading(file.path), open_file(file.path) as data:
            size = data.size()
            end = data.read_at(_EDGE, size - _EDGE) if size > _EDGE else b""
            digest = hashlib.blake2b(data.read_at(min(_EDGE, size), 0) + end, digest_size=8)
    except UnreadableFile:  # which its reader reports
        return ""
    return f"{size}-{digest.hexdigest()}"
