"""Which rows of the sources a file of a window holds, kept in the file's metadata.

A file may be replaced only by one that holds its rows too, so a writer must know them exactly.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.beam.streaming.batch import ROW, SOURCE, source_name
from pipelines.records.bad_rows import BadRow

__all__ = ["Positions", "earlier_rows"]

_MAX_SOURCES = 10_000  # more of them are kept as hashes, one number a row
_HASHED = ""  # the source that stands for them; no source has this name
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Positions:
    """Positions of rows in their sources.

    Attributes:
        ranges: of each source, the first and the last row of each run without a gap, each `(n,)` int64,
            ascending.
    """

    ranges: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]]

    @classmethod
    def of(cls, rows: pa.Table) -> "Positions":
        """The positions of rows, which are sorted by `SOURCE` and `ROW`, each once."""
        sources, codes, numbers = _columns(rows)
        if len(sources) > _MAX_SOURCES:
            sources, numbers = [_HASHED], np.sort(_hashes(sources, codes, numbers))
            codes = np.zeros(len(numbers), np.int32)
        starts = np.ones(len(numbers), bool)
        starts[1:] = (codes[1:] != codes[:-1]) | (numbers[1:] - numbers[:-1] != 1)
        begin = np.flatnonzero(starts)
        first, last = numbers[begin], numbers[np.append(begin[1:], len(numbers)) - 1]
        # Codes ascend, because a sorted column is encoded in the order of its values.
        bounds = np.searchsorted(codes[begin], np.arange(len(sources) + 1))
        parts = zip(sources, bounds[:-1], bounds[1:], strict=True)
        return cls({source: (first[a:b], last[a:b]) for source, a, b in parts})

    def __len__(self) -> int:
        """The number of rows."""
        return sum(int((last - first + 1).sum()) for first, last in self.ranges.values())

    def held(self, rows: pa.Table) -> NDArray[np.bool_]:
        """`(n,)`: whether each row is one of these; the rows are sorted as for `of`."""
        sources, codes, numbers = _columns(rows)
        if _HASHED in self.ranges:
            return _inside(_hashes(sources, codes, numbers), *self.ranges[_HASHED])
        found = np.zeros(len(numbers), bool)
        bounds = np.searchsorted(codes, np.arange(len(sources) + 1))
        for source, begin, end in zip(sources, bounds[:-1], bounds[1:], strict=True):
            if source in self.ranges:
                found[begin:end] = _inside(numbers[begin:end], *self.ranges[source])
        return found

    def encode(self) -> str:
        """As text for metadata: differences of neighbours, compressed."""
        lengths = [len(first) for first, _ in self.ranges.values()]
        firsts = [first for first, _ in self.ranges.values()] or [np.empty(0, np.int64)]
        lasts = [last for _, last in self.ranges.values()] or [np.empty(0, np.int64)]
        first = np.concatenate(firsts)
        columns = {
            "source": pa.array(list(self.ranges), pa.string()).take(
                pa.array(np.repeat(np.arange(len(lengths)), lengths))
            ),
            "step": pa.array(np.diff(first, prepend=0)),
            "more": pa.array(np.concatenate(lasts) - first),
        }
        batch = pa.record_batch(columns)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(
            sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
        ) as writer:
            writer.write_batch(batch)
        return base64.b64encode(sink.getvalue()).decode()

    @classmethod
    def decode(cls, text: str) -> "Positions":
        """The reverse of `encode`."""
        with pa.ipc.open_stream(base64.b64decode(text)) as reader:
            batch = reader.read_next_batch()
        first = np.cumsum(batch["step"].to_numpy())
        last = first + batch["more"].to_numpy()
        sources = batch["source"].dictionary_encode()
        bounds = np.searchsorted(sources.indices.to_numpy(), np.arange(len(sources.dictionary) + 1))
        parts = zip(sources.dictionary.to_pylist(), bounds[:-1], bounds[1:], strict=True)
        return cls({source: (first[a:b], last[a:b]) for source, a, b in parts})


def _columns(rows: pa.Table) -> tuple[list[str], NDArray[np.int32], NDArray[np.int64]]:
    sources = rows[SOURCE].combine_chunks().dictionary_encode()
    return sources.dictionary.to_pylist(), sources.indices.to_numpy(), rows[ROW].to_numpy()


def _inside(
    numbers: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.bool_]:
    run = np.searchsorted(first, numbers, "right") - 1
    return (run >= 0) & (numbers <= last[np.maximum(run, 0)])


def _hashes(sources: list[str], codes: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number of 63 bits for each row."""
    each = [hashlib.blake2b(one.encode(), digest_size=8).digest() for one in sources]
    names = np.frombuffer(b"".join(each), np.uint64)
    mixed: NDArray[np.int64] = ((names[codes] + numbers.view(np.uint64) * _ODD) >> np.uint64(1)).view(
        np.int64
    )
    return mixed


def earlier_rows(metadata: Mapping[str, str], rows: pa.Table, bad: list[BadRow]) -> NDArray[np.bool_] | None:
    """Which rows a file of an earlier version holds, which had a digest of its positions instead of them.

    It took the first rows of each source, in their order; so the same number of rows with the same digest
    are its rows.

    Args:
        metadata: of the file.
        rows: sorted as for `Positions.of`.
        bad: the bad rows of the same window.

    Returns:
        `(n,)`: the rows that it holds; None if it holds others.
    """
    counts = msgspec.json.decode(metadata.get("millstream.rows", "{}"), type=dict[str, int])
    sources, codes, _ = _columns(rows)
    begins = np.searchsorted(codes, np.arange(len(sources)))
    takes = np.array([counts.get(source_name(source), 0) for source in sources], np.int64)
    if list(counts) == [_HASHED]:  # the sum over very many sources
        takes = np.full(len(sources), rows.num_rows)
    held = np.arange(rows.num_rows) - begins[codes] < takes[codes]
    if int(held.sum()) == sum(counts.values()):
        part = rows.filter(pa.array(held))
        for some in ([], bad):
            if _earlier_digest(part, some) == metadata.get("millstream.places"):
                return held
    return None


def _earlier_digest(rows: pa.Table, bad: list[BadRow]) -> str:
    sources, codes, numbers = _columns(rows)
    digest = hashlib.sha256(numbers.tobytes())
    digest.update(codes.tobytes())
    positions = [(one.file, one.row) for one in bad]
    digest.update(msgspec.json.encode([[source_name(one) for one in sources], positions]))
    return digest.hexdigest()
