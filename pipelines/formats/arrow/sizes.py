"""The size of an Arrow IPC stream before it is decoded: its rows, and its bytes without compression.

A kilobyte may declare gigabytes, which the decoder would allocate. So the declared sizes are read first,
from the flatbuffers that describe each batch (Message.fbs and Schema.fbs of Apache Arrow).
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["DamagedStream", "StreamSize", "schema_end", "stream_size"]

_CONTINUED = 0xFFFFFFFF  # stands before each length; streams of before Arrow 0.15 lack it
_DICTIONARY, _BATCH = 2, 3  # kinds of messages
_MARK = 8  # bytes in front of a compressed buffer: its size without compression, or -1

# The numbers of fields in their tables.
_KIND, _HEADER, _BODY = 1, 2, 3
_LENGTH, _BUFFERS, _COMPRESSION = 0, 2, 3
_DATA = 1


class DamagedStream(ValueError):
    """The bytes are no Arrow IPC stream."""


class StreamSize(NamedTuple):
    """What a stream declares.

    Attributes:
        rows: of all its batches.
        n_bytes: of all buffers, without compression.
    """

    rows: int
    n_bytes: int


def stream_size(stream: bytes) -> StreamSize:
    """The declared size of a stream.

    Raises:
        DamagedStream: the bytes are no stream, or there are more behind its end.
    """
    rows = n_bytes = 0
    for kind, header, body, end in _messages(stream):
        if kind == _DICTIONARY:
            n_bytes += _buffer_bytes(stream, header.inner(_DATA), body, end)
        elif kind == _BATCH:
            rows += _whole(header.number(_LENGTH, "<q"))
            n_bytes += _buffer_bytes(stream, header, body, end)
    return StreamSize(rows, n_bytes)


def schema_end(stream: bytes) -> int:
    """Where the message with the schema ends, which is the first one.

    Raises:
        DamagedStream: the bytes are no stream.
    """
    return next(end for _, _, _, end in _messages(stream))


class _Table(NamedTuple):
    """A table of a flatbuffer: its fields are found by their numbers."""

    data: memoryview
    at: int

    def _field(self, number: int) -> int:
        """Where a field is; 0 if the table lacks it."""
        table = self.at - _unpack("<i", self.data, self.at)
        place = 4 + 2 * number
        if place + 2 > _unpack("<H", self.data, table):
            return 0
        offset = _unpack("<H", self.data, table + place)
        return self.at + offset if offset else 0

    def number(self, number: int, kind: str) -> int:
        """A field that is a number; 0 if the table lacks it."""
        place = self._field(number)
        return _unpack(kind, self.data, place) if place else 0

    def has(self, number: int) -> bool:
        """Whether the table has a field."""
        return bool(self._field(number))

    def inner(self, number: int) -> "_Table":
        """A field that is a table."""
        if not (place := self._field(number)):
            raise DamagedStream("a message lacks its header")
        return _Table(self.data, place + _unpack("<I", self.data, place))

    def buffers(self) -> Iterator[tuple[int, int]]:
        """The offset and the length of each buffer of a batch."""
        if place := self._field(_BUFFERS):
            begin = place + _unpack("<I", self.data, place)
            size = 16 * _unpack("<I", self.data, begin)
            if begin + 4 + size > len(self.data):
                raise DamagedStream("a list of buffers is longer than its message")
            yield from struct.iter_unpack("<qq", self.data[begin + 4 : begin + 4 + size])


def _unpack(kind: str, data: bytes | memoryview, at: int) -> int:
    if at < 0:
        raise DamagedStream("an offset is negative")
    try:
        found: int = struct.unpack_from(kind, data, at)[0]
    except struct.error as error:
        raise DamagedStream("it ends inside a message") from error
    return found


def _whole(number: int) -> int:
    if number < 0:
        raise DamagedStream("a length is negative")
    return number


def _messages(stream: bytes) -> Iterator[tuple[int, _Table, int, int]]:
    """The messages of a stream: the kind, the header, where the body begins, and where it ends."""
    view, at = memoryview(stream), 0
    while at < len(stream):
        length = _unpack("<I", view, at)
        at += 4
        if length == _CONTINUED:
            length = _unpack("<I", view, at)
            at += 4
        if not length:
            break
        message = _Table(view[at : at + length], _unpack("<I", view, at))
        body = at + length
        end = body + _whole(message.number(_BODY, "<q"))
        if end > len(stream):
            raise DamagedStream(f"it ends inside a message: {end - len(stream)} bytes are missing")
        yield message.number(_KIND, "<B"), message.inner(_HEADER), body, end
        at = end
    if stream[at:].strip(b"\0"):
        raise DamagedStream(f"there are {len(stream) - at} bytes behind the end of the stream")


def _buffer_bytes(stream: bytes, batch: _Table, body: int, end: int) -> int:
    """The bytes of a batch's buffers without compression."""
    if not batch.has(_COMPRESSION):
        return end - body
    found = 0
    for offset, length in batch.buffers():
        if offset < 0 or length < 0 or body + offset + length > end:
            raise DamagedStream("a buffer is outside of its message")
        if length >= _MARK:
            declared = _unpack("<q", stream, body + offset)
            found += length - _MARK if declared == -1 else _whole(declared)
    return found
