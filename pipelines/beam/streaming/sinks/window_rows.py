"""The rows of one firing of a window: put in order, and told apart from those of another firing."""

import hashlib

import msgspec
import numpy as np
import pyarrow as pa

from pipelines.beam.streaming.batch import ROW, SOURCE
from pipelines.records.bad_rows import BadRow

__all__ = ["census", "digest", "is_older", "ordered"]

_SOURCES = 10_000  # that are counted one by one; more, as of single messages, are counted together


def census(rows: pa.Table) -> str:
    """How many rows there are of each source, as JSON; of very many sources, how many in all."""
    counts = {one["values"]: one["counts"] for one in rows[SOURCE].value_counts().to_pylist()}
    many = {"": rows.num_rows}
    return msgspec.json.encode(counts if len(counts) <= _SOURCES else many, order="sorted").decode()


def is_older(mine: str, theirs: str) -> bool:
    """Whether the first of two firings came before the other one: a window only ever gains rows.

    Args:
        mine: its census.
        theirs: the other one's.
    """
    counts, others = (msgspec.json.decode(one, type=dict[str, int]) for one in (mine, theirs))
    return counts != others and all(count <= others.get(source, 0) for source, count in counts.items())


def digest(rows: pa.Table, bad: list[BadRow]) -> str:
    """What tells whether two firings of a window hold the same rows."""
    found = hashlib.sha256(rows[ROW].to_numpy().tobytes())
    sources = rows[SOURCE].combine_chunks().dictionary_encode()
    found.update(sources.indices.to_numpy().tobytes())
    places = [(one.file, one.row) for one in bad]
    found.update(msgspec.json.encode([sources.dictionary.to_pylist(), places]))
    return found.hexdigest()


def ordered(batches: list[pa.RecordBatch]) -> pa.Table:
    """The rows in the order of their sources, each once."""
    rows = (
        pa.Table.from_batches(batches).sort_by([(SOURCE, "ascending"), (ROW, "ascending")]).combine_chunks()
    )
    numbers = rows[ROW].to_numpy()
    sources = rows[SOURCE].combine_chunks().dictionary_encode().indices.to_numpy()
    first = np.ones(rows.num_rows, bool)
    first[1:] = (numbers[1:] != numbers[:-1]) | (sources[1:] != sources[:-1])
    return rows if first.all() else rows.filter(pa.array(first)).combine_chunks()
