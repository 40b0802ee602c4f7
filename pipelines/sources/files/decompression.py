"""Compressed files as streams of bytes that give everything before a damage, and then say where it is."""

import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import pyarrow as pa

from encoder.errors import UnreadableFile
from pipelines.records.bad_rows import one_line
from pipelines.sources.files.filesystem import tells_damage

__all__ = ["Decompressed", "decompressed"]

_STEP = 1 << 16  # compressed bytes to read at once; what follows a member is copied, so small ones want few
_GZIP = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f\x8b"


class Decompressed(Protocol):
    """The decompressed bytes of a file."""

    def read(self, n_bytes: int) -> bytes:
        """Up to `n_bytes` bytes; none at the end."""

    def tell(self) -> int:
        """How many bytes of the stored file have been read."""


def decompressed(compression: str, reopen: Callable[[], pa.NativeFile], path: str) -> Decompressed:
    """Decompress a file.

    Args:
        compression: `gz` or `zst`.
        reopen: opens the stored file at its beginning.
        path: for messages.
    """
    return _Gzip(reopen(), path) if compression == "gz" else _Zstandard(reopen, path)


class _Gzip:
    """Gzip as gzip(1) reads it: members follow one another, and zero bytes behind them are padding.

    Other bytes behind the last member are a damage: they may be records that were added uncompressed.
    """

    def __init__(self, raw: pa.NativeFile, path: str) -> None:
        self._raw, self._path = raw, path
        self._member = zlib.decompressobj(_GZIP)
        self._input = b""
        self._error: Exception | None = None

    def tell(self) -> int:
        return int(self._raw.tell()) - len(self._input)

    def read(self, n_bytes: int) -> bytes:
        parts: list[bytes] = []
        n_read = 0
        while not self._error and n_read < n_bytes and (not self._member.eof or self._next_member()):
            part = self._some(n_bytes - n_read)
            parts.append(part)
            n_read += len(part)
        if self._error and not n_read:
            raise _damaged(self._path, self._error) from self._error
        return b"".join(parts)

    def _some(self, n_bytes: int) -> bytes:
        """The next bytes, perhaps none; what is wrong with the file behind them is kept as `_error`."""
        data = self._input or self._raw.read(_STEP)
        before = self._member.copy()
        try:
            found: bytes = self._member.decompress(data, n_bytes)
        except zlib.error as error:
            self._error = error
            return self._before_damage(before, data)
        self._input = self._member.unused_data or self._member.unconsumed_tail
        if not found and not data and not self._member.eof:
            self._error = EOFError("it ends in the middle of compressed data")
        return found

    def _before_damage(self, member: "zlib._Decompress", data: bytes) -> bytes:
        """What the bytes before the damage hold: the failed step is repeated byte by byte."""
        found = []
        for i in range(len(data)):
            try:
                found.append(member.decompress(data[i : i + 1]))
            except zlib.error:
                self._input = data[i:]
                break
        return b"".join(found)

    def _next_member(self) -> bool:
        """Begin the member that follows; False at the end of the file."""
        self._input = self._input.lstrip(b"\0")
        while len(self._input) < len(_MAGIC) and (data := self._raw.read(_STEP)):
            self._input = (self._input + data).lstrip(b"\0")
        if self._input.startswith(_MAGIC):
            self._member = zlib.decompressobj(_GZIP)
            return True
        if self._input:
            self._error = ValueError("bytes that are not gzip follow its compressed data")
        return False


class _Zstandard:
    """Zstandard, decompressed by pyarrow."""

    def __init__(self, reopen: Callable[[], pa.NativeFile], path: str) -> None:
        self._reopen, self._path = reopen, path
        self._raw = reopen()
        self._stream = pa.CompressedInputStream(self._raw, "zstd")
        self._at = 0
        self._error: OSError | None = None

    def tell(self) -> int:
        return int(self._raw.tell())

    def read(self, n_bytes: int) -> bytes:
        try:
            if self._error:
                raise self._error
            data: bytes = self._stream.read(n_bytes)
        except OSError as error:
            if not tells_damage(error):
                raise
            data = b"" if self._error else self._before_damage(n_bytes)
            self._error = error
            if not data:
                raise _damaged(self._path, error) from error
        self._at += len(data)
        return data

    def _before_damage(self, n_bytes: int) -> bytes:
        """What the bytes before the damage hold: pyarrow drops them, so read them in small steps."""
        found = b""
        for step in (4096, 1):
            stream = pa.CompressedInputStream(self._reopen(), "zstd")
            left = self._at + len(found)
            with suppress(OSError):
                while left and (data := stream.read(min(left, step))):
                    left -= len(data)
                while len(found) < n_bytes and (data := stream.read(step)):
                    found += data
        return found


def _damaged(path: str, error: Exception) -> UnreadableFile:
    what = "is damaged or truncated"
    if "check" in str(error):
        what += ", so that records before this place may be wrong too"
    return UnreadableFile(f"{path} {what} ({one_line(error)}): copy or write it again")
