"""Memory-mapped arrays of safetensors files: loaded on first use, shared by all processes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from encoder.aligned import LINE

__all__ = ["map_tensors", "write_tensors"]

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BOOL": "?",
    **{f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
}


def map_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Map the arrays of a safetensors file into memory, read-only.

    Returns:
        The arrays by name, and the file's metadata.

    Raises:
        OSError: the file cannot be read.
        SafetensorError: the file is not a safetensors file, or is truncated.
        ValueError: NumPy has no such array type.
    """
    with safe_open(path, framework="numpy") as file:  # checks that the arrays fill the file
        metadata = dict(file.metadata() or {})
    with path.open("rb") as raw:
        size = int.from_bytes(raw.read(8), "little")
        entries = json.loads(raw.read(size))
    entries.pop("__metadata__", None)
    return {name: _map(path, name, entry, 8 + size) for name, entry in entries.items()}, metadata


def _map(path: Path, name: str, entry: dict[str, Any], start: int) -> NDArray[Any]:
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"the type of {name!r} is {entry['dtype']}: use one of {', '.join(_DTYPES)}")
    dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if begin == end:  # nothing to map
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", start + begin, shape)


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
