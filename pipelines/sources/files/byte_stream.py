"""The bytes of line files: ranges of plain files, and whole compressed files."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import pyarrow as pa

from encoder.errors import UnreadableFile
from pipelines.records.encodings import UTF8, to_utf8
from pipelines.sources.files.decompression import Decompressed, decompressed
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import REMOTE_BUFFER, is_remote, open_file

__all__ = ["READ_BYTES", "ByteRange"]

READ_BYTES = 1 << 20
"""Bytes to read and decode at once: few enough for the processor's cache."""


class ByteRange:
    """Iterates over the decompressed bytes of a file from `start` to `end` in pieces of about `READ_BYTES`.

    They are UTF-8 if the file's dialect says which encoding it has.
    """

    def __init__(self, file: InputFile, start: int, end: int) -> None:
        self._path = file.path
        self._end = end
        self._at = start
        self._encoding = file.dialect.encoding or UTF8
        self._n_skipped = 0
        self._unpacked: Decompressed | None = None
        self._opened: list[pa.NativeFile] = []
        if file.compression is not None:
            self._unpacked = decompressed(file.compression, self._open, file.path)
        else:
            self._stream = self._open(start)

    def _open(self, start: int = 0) -> pa.NativeFile:
        raw = open_file(self._path)
        self._opened.append(raw)
        raw.seek(start)
        return pa.BufferedInputStream(raw, REMOTE_BUFFER) if is_remote(self._path) else raw

    @property
    def position(self) -> int:
        """How many bytes of the stored file have been read, from its beginning."""
        return self._at if self._unpacked is None else min(self._unpacked.tell(), self._end)

    def skip(self, n_bytes: int) -> None:
        """Leave the first bytes out."""
        self._n_skipped = n_bytes

    def __iter__(self) -> Iterator[bytes]:
        for data in to_utf8(self._pieces(), self._encoding):
            rest = data[self._n_skipped :]
            self._n_skipped -= len(data) - len(rest)
            if rest:
                yield rest

    def _pieces(self) -> Iterator[bytes]:
        while data := self._read(READ_BYTES):
            yield data

    def _read(self, n_bytes: int) -> bytes:
        if self._unpacked is not None:
            return self._unpacked.read(n_bytes)
        n_bytes = min(n_bytes, self._end - self._at)
        data: bytes = self._stream.read(n_bytes)
        if n_bytes and not data:
            raise UnreadableFile(f"{self._path} has become shorter than {self._end} bytes: copy it again")
        self._at += len(data)
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for raw in self._opened:
            raw.close()
