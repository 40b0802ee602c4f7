"""The bytes of line files: ranges of plain files, compressed files from their beginning."""

from collections.abc import Iterator
from contextlib import closing
from types import TracebackType
from typing import Self

import pyarrow as pa

from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import REMOTE_BUFFER, is_remote, open_file

__all__ = ["READ_BYTES", "ByteRange"]

READ_BYTES = 1 << 20
"""Bytes that are read and decoded at once: they stay in the processor's cache."""

_CODECS = {"gz": "gzip", "zst": "zstd"}


class ByteRange:
    """Iterates over the bytes of a file from `start` to `end`, decompressed, in pieces of `READ_BYTES`.

    Attributes:
        position: the bytes of the file as stored that have been read, from the file's beginning.
    """

    def __init__(self, file: InputFile, start: int, end: int) -> None:
        self._raw = open_file(file.path)
        self._stream = self._raw
        self._end = end
        self._compressed = file.compression is not None
        self._at = start
        self._raw.seek(start)
        if is_remote(file.path):
            self._stream = pa.BufferedInputStream(self._raw, REMOTE_BUFFER)
        if file.compression is not None:
            self._stream = pa.CompressedInputStream(self._stream, _CODECS[file.compression])

    @property
    def position(self) -> int:
        """See the class."""
        return min(int(self._raw.tell()), self._end) if self._compressed else self._at

    def skip(self, n_bytes: int) -> None:
        """Leave out the next bytes of what is read."""
        while n_bytes > 0 and (data := self._read(min(n_bytes, READ_BYTES))):
            n_bytes -= len(data)

    def __iter__(self) -> Iterator[bytes]:
        while data := self._read(READ_BYTES):
            yield data

    def _read(self, n_bytes: int) -> bytes:
        if not self._compressed:
            n_bytes = min(n_bytes, self._end - self._at)
        data: bytes = self._stream.read(n_bytes)
        self._at += len(data)
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with closing(self._raw):
            self._stream.close()
