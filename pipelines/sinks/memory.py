"""Reusable memory for files on their way to object storage."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["FileMemory"]

_MARGIN = 1 << 20  # bytes of footers and headers


class FileMemory:
    """Buffers for files, one for each thread that writes at the same time.

    A stream that grows gets new pages from the system for each file; clearing them took a seventh of a
    worker's time.
    """

    def __init__(self) -> None:
        self._free: list[NDArray[np.uint8]] = []

    @contextmanager
    def file(self, n_bytes: int, write: Callable[[pa.NativeFile], None]) -> Iterator[memoryview]:
        """Make a file.

        Args:
            n_bytes: of Arrow data in it, about the largest size that the file can have.
            write: writes the file; called again if the file is larger.

        Yields:
            The file's bytes, valid until the end of the block.
        """
        room = self._room(n_bytes + n_bytes // 8 + _MARGIN)
        try:
            yield _into(room, write) or _growing(write)
        finally:
            self._free.append(room)

    def _room(self, n_bytes: int) -> NDArray[np.uint8]:
        try:
            room = self._free.pop()
        except IndexError:
            room = np.empty(0, np.uint8)
        return room if len(room) >= n_bytes else np.empty(n_bytes, np.uint8)


def _into(room: NDArray[np.uint8], write: Callable[[pa.NativeFile], None]) -> memoryview | None:
    sink = pa.FixedSizeBufferWriter(pa.py_buffer(room))
    try:
        write(sink)
    except OSError:
        return None
    return room.data[: sink.tell()]


def _growing(write: Callable[[pa.NativeFile], None]) -> memoryview:
    sink = pa.BufferOutputStream()
    write(sink)
    return memoryview(sink.getvalue()).cast("B")
