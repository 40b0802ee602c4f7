"""Whether bytes are UTF-8, and where they are not."""

import numpy as np
import pyarrow as pa

__all__ = ["BOM", "is_utf8", "not_utf8"]

BOM = b"\xef\xbb\xbf"
"""The byte order mark, which some programs write at the beginning of a file."""


def is_utf8(data: pa.Buffer | bytes) -> bool:
    """Whether all of `data` is UTF-8; as fast as memory."""
    buffer = pa.py_buffer(data)
    offsets = pa.py_buffer(np.array([0, buffer.size], np.int64))
    try:
        pa.LargeStringArray.from_buffers(1, offsets, buffer).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def not_utf8(record: bytes) -> str | None:
    """Why `record` is not UTF-8, or None if it is."""
    try:
        record.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8: byte {record[error.start]:#04x} at position {error.start}"
    return None
