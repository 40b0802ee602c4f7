"""The formats that `millstream encode` writes: NumPy's, Parquet, JSON lines and plain bytes."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, get_args

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from encoder.atomic_files import new_file
from encoder.errors import ConfigurationError
from encoder.threads import default_threads, share_out
from pipelines.enrich.columns import VectorFormat
from pipelines.sinks.parquet import parquet_writer

__all__ = ["EncodeFormat", "VectorWriter", "choose_format", "open_output", "open_writer"]

EncodeFormat = Literal["npy", "parquet", "jsonl", "raw"]

_EXTENSIONS: dict[str, EncodeFormat] = {
    ".npy": "npy",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".bin": "raw",
    ".raw": "raw",
}
_PART = 512  # lines that one thread turns into JSON at a time


class VectorWriter(Protocol):
    """Writes lines and their vectors."""

    def write(self, texts: pa.ChunkedArray, vectors: NDArray[Any]) -> None:
        """Append `n` lines and their vectors, `(n, dim)`; neither is kept."""

    def close(self) -> None:
        """Write what stands at the end."""


def choose_format(output: Path | None, wanted: EncodeFormat | None) -> EncodeFormat:
    """The format to write: the one that is wanted, else by the output's extension, else JSON lines.

    Raises:
        ConfigurationError: the extension says nothing, or bytes would go to a terminal.
    """
    found = wanted
    if found is None:
        found = "jsonl" if output is None else _EXTENSIONS.get(output.suffix.lower())
    if found is None:
        raise ConfigurationError(
            f"cannot tell the format of {output}: give --format {'|'.join(get_args(EncodeFormat))}, "
            f"or name a file {' '.join(_EXTENSIONS)}"
        )
    if output is None and found != "jsonl" and sys.stdout.isatty():
        raise ConfigurationError(
            f"{found} is binary and standard output is a terminal: give --output FILE, or redirect it"
        )
    return found


@contextmanager
def open_output(output: Path | None, *, seekable: bool) -> Iterator[BinaryIO]:
    """A file to write to.

    A regular file appears under its name at the end of the block, as a whole; after an error it is as it was
    before. Standard output, pipes and devices are written to directly.

    Args:
        output: its path, or None for standard output.
        seekable: whether the format goes back to its beginning. What cannot do that is written at the end
            of the block, from a temporary file.
    """
    if output is not None and (not output.exists() or output.is_file()):
        with new_file(output) as file:
            yield file
        return
    with _standard_output() if output is None else output.open("wb") as target:
        if not seekable:
            yield target
            return
        with tempfile.TemporaryFile() as whole:
            yield whole
            whole.seek(0)
            shutil.copyfileobj(whole, target, 1 << 20)


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    """Standard output for bytes; it stays open."""
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # as by `| head`: the interpreter would complain at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def open_writer(
    kind: EncodeFormat, file: BinaryIO, dim: int, vectors: VectorFormat, model: str
) -> VectorWriter:
    """What writes a format to a file.

    Args:
        kind: the format.
        file: where to; `npy` goes back to its beginning.
        dim: dimensions of a vector.
        vectors: their type.
        model: what Parquet's metadata call the model.
    """
    if kind == "npy":
        return _Npy(file, dim, np.dtype(vectors.dtype))
    if kind == "parquet":
        return _Parquet(file, dim, vectors, model)
    return _JsonLines(file) if kind == "jsonl" else _Raw(file)


class _Raw:
    """The vectors' bytes, row by row, little endian; nothing else."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, texts: pa.ChunkedArray, vectors: NDArray[Any]) -> None:
        del texts
        self._file.write(vectors.data)
        self._file.flush()

    def close(self) -> None:
        """Nothing stands at the end."""


class _Npy:
    """One array `(n_lines, dim)`; the header says how many at the end."""

    def __init__(self, file: BinaryIO, dim: int, dtype: np.dtype[Any]) -> None:
        self._file, self._dim, self._dtype = file, dim, dtype
        self._rows = 0
        self._header()

    def write(self, texts: pa.ChunkedArray, vectors: NDArray[Any]) -> None:
        del texts
        self._rows += len(vectors)
        self._file.write(vectors.data)

    def close(self) -> None:
        self._file.seek(0)
        self._header()

    def _header(self) -> None:
        """NumPy leaves room in it for any number of rows."""
        shape = (self._rows, self._dim)
        about = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, about)


class _Parquet:
    """The columns `text` and `embedding`; the metadata say the model."""

    def __init__(self, file: BinaryIO, dim: int, vectors: VectorFormat, model: str) -> None:
        self._vectors = vectors
        fields = [pa.field("text", pa.string(), nullable=False), vectors.field(dim)]
        self._schema = pa.schema(fields, {"model_version": model})
        self._writer = parquet_writer(file, self._schema)

    def write(self, texts: pa.ChunkedArray, vectors: NDArray[Any]) -> None:
        table = pa.Table.from_arrays([texts, self._vectors.column(vectors)], schema=self._schema)
        self._writer.write_table(table, row_group_size=max(1, len(table)))

    def close(self) -> None:
        self._writer.close()


class _JsonLines:
    """`{"text": …, "embedding": […]}`: the shortest digits that give the same numbers."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._quote = msgspec.json.Encoder().encode
        self._threads = default_threads()

    def write(self, texts: pa.ChunkedArray, vectors: NDArray[Any]) -> None:
        quoted = [self._quote(text) for text in texts.to_pylist()]
        starts = range(0, len(quoted), _PART)
        parts: list[Any] = [b""] * len(starts)

        def encode(k: int) -> None:
            rows = slice(starts[k], starts[k] + _PART)
            parts[k] = _json_lines(quoted[rows], vectors[rows])

        share_out(encode, range(len(starts)), self._threads)
        for part in parts:
            self._file.write(part)
        self._file.flush()

    def close(self) -> None:
        """Nothing stands at the end."""


def _json_lines(quoted: list[bytes], vectors: NDArray[Any]) -> memoryview:
    """Lines of JSON, out of texts that are JSON already."""
    n_rows, dim = vectors.shape
    digits = pa.array(vectors.ravel()).cast(pa.string())
    lists = pa.ListArray.from_arrays(np.arange(n_rows + 1, dtype=np.int32) * dim, digits)
    texts = pa.array(quoted, pa.binary()).cast(pa.string())
    parts = ('{"text":', texts, ',"embedding":[', pc.binary_join(lists, ","), "]}\n", "")
    lines = pc.binary_join_element_wise(*parts)
    return memoryview(lines.buffers()[2])[: int(np.frombuffer(lines.buffers()[1], np.int32)[n_rows])]
