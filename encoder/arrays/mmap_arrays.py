"""Memory-mapped arrays of safetensors files: loaded on first use, shared by all processes.

One reading of the header serves for its checks and for the arrays, so they cannot understand it differently.
As long as an array of a file is mapped, the file has a shared lock: the cache sees which models are in use.
"""

import fcntl
import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from encoder.arrays.aligned import LINE
from encoder.errors import ModelFormatError

__all__ = ["map_tensors", "write_tensors"]

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BOOL": "?",
    **{f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
}
_LARGEST_HEADER = 8 << 20
_MOST_ARRAYS = 10_000
_MOST_AXES = 8
_Size = Annotated[int, msgspec.Meta(ge=0, lt=1 << 50)]


class _Entry(msgspec.Struct):
    """What the header says of an array."""

    dtype: str
    shape: Annotated[tuple[_Size, ...], msgspec.Meta(max_length=_MOST_AXES)]
    data_offsets: tuple[_Size, _Size]


def map_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Map the arrays of a safetensors file into memory, read-only.

    Returns:
        The arrays by name, and the file's metadata.

    Raises:
        ModelFormatError: the file cannot be read, is not a safetensors file, is truncated, or has arrays that
            overlap, leave gaps or are of a type that NumPy lacks.
    """
    try:
        with path.open("rb") as file:
            size = _header_size(file.read(8))
            header = msgspec.json.decode(file.read(size), type=dict[str, msgspec.Raw])
            n_bytes = file.seek(0, os.SEEK_END) - 8 - size
        metadata = msgspec.json.decode(header.pop("__metadata__", b"{}"), type=dict[str, str])
        entries = {name: msgspec.json.decode(raw, type=_Entry) for name, raw in header.items()}
        _check(entries, n_bytes)
        return {name: _map(path, entry, 8 + size) for name, entry in entries.items()}, metadata
    except OSError as error:
        raise ModelFormatError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, OverflowError, RecursionError, MemoryError, msgspec.DecodeError) as error:
        raise ModelFormatError(f"{path} is not a safetensors file: {error}") from error


def _header_size(data: bytes) -> int:
    size = int.from_bytes(data, "little")
    if size > _LARGEST_HEADER:
        raise ValueError(f"its header has {size:,} bytes, and the limit is {_LARGEST_HEADER:,}")
    return size


def _check(entries: Mapping[str, _Entry], n_bytes: int) -> None:
    """Raise ValueError unless the arrays have known types and fill `n_bytes`, one after the other."""
    if len(entries) > _MOST_ARRAYS:
        raise ValueError(f"it has {len(entries):,} arrays, and the limit is {_MOST_ARRAYS:,}")
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        if entry.dtype not in _DTYPES:
            raise ValueError(
                f"the type of {name[:50]!r} is {entry.dtype[:20]}: use one of {', '.join(_DTYPES)}"
            )
        begin, last = entry.data_offsets
        wanted = math.prod(entry.shape) * np.dtype(_DTYPES[entry.dtype]).itemsize
        if begin != end or last - begin != wanted:
            raise ValueError(
                f"{name[:50]!r} has bytes {begin} to {last}: they must begin at {end} and be {wanted}"
            )
        end = last
    if end != n_bytes:
        raise ValueError(f"its arrays have {end:,} bytes and the file has {n_bytes:,}")


def _map(path: Path, entry: _Entry, start: int) -> NDArray[Any]:
    dtype = np.dtype(_DTYPES[entry.dtype])
    begin, end = entry.data_offsets
    if begin == end:  # nothing to map
        return np.zeros(entry.shape, dtype)
    with path.open("rb") as file:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(
                file, fcntl.LOCK_SH | fcntl.LOCK_NB
            )  # while the array lives: NumPy keeps the file open
        array: NDArray[Any] = np.memmap(file, dtype, "r", start + begin, entry.shape)
    if not array.flags.aligned:  # kernels are compiled for aligned arrays
        array = np.array(array)
        array.flags.writeable = False
    return array


def write_tensors(path: Path, arrays: Mapping[str, NDArray[Any]], rows: str) -> None:
    """Write a safetensors file in which the array `rows` starts at a cache line.

    Other writers let it start anywhere, so that a row of 256 bytes touches five lines instead of four. The
    format allows spaces after the header, and these shift the array, unless an array of an odd size precedes
    it.
    """
    data = memoryview(save(dict(arrays)))
    size = int.from_bytes(data[:8], "little")
    header = bytes(data[8 : 8 + size])
    spaces = -(8 + size + json.loads(header)[rows]["data_offsets"][0]) % LINE
    if spaces % 8:  # the format aligns arrays to 8 bytes
        spaces = 0
    with path.open("wb") as file:
        file.write((size + spaces).to_bytes(8, "little") + header + b" " * spaces)
        file.write(data[8 + size :])
