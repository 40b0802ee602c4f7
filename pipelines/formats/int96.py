"""Timestamps in Parquet's old type INT96: nanoseconds of a day, and the day.

They are read in microseconds, which hold the years that Spark, Hive and Impala write; pyarrow's default of
nanoseconds wraps around before 1677 and after 2262 in silence. Times with nanoseconds are found by reading
them in both units: in arithmetic that wraps around, they agree if there is nothing below a microsecond.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetSchema

__all__ = ["int96_columns", "misfits", "with_mark", "without_mark"]

_MARK = "\0int96"  # the column of `with_mark`


def int96_columns(schema: "ParquetSchema") -> list[str]:
    """The top-level columns with INT96 in them."""
    leaves = (schema.column(i) for i in range(len(schema)))
    return list(dict.fromkeys(leaf.path.split(".")[0] for leaf in leaves if leaf.physical_type == "INT96"))


def with_mark(batches: Iterable[pa.RecordBatch], nanoseconds: pa.Table) -> Iterator[pa.RecordBatch]:
    """Add a column that says which rows have a time that microseconds do not hold.

    Args:
        batches: rows with times in microseconds.
        nanoseconds: the columns of all these rows that have INT96, in nanoseconds.
    """
    exact = nanoseconds.combine_chunks()
    done = 0
    for batch in batches:
        finer = np.zeros(batch.num_rows, bool)
        for name in exact.schema.names:
            here = exact.column(name).slice(done, batch.num_rows).combine_chunks()
            finer[_finer(batch.column(name), here)] = True
        done += batch.num_rows
        yield batch.append_column(_MARK, pa.array(finer))


def without_mark(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without the column that `with_mark` adds."""
    return batch.drop_columns([_MARK]) if _MARK in batch.schema.names else batch


def misfits(batch: pa.RecordBatch) -> dict[int, str]:
    """The rows that are marked, and what is wrong with them."""
    if _MARK not in batch.schema.names:
        return {}
    rows = np.flatnonzero(batch.column(_MARK).to_numpy(zero_copy_only=False))
    reason = "a time of Parquet's type INT96 has nanoseconds, or a year, that microseconds do not hold"
    return dict.fromkeys(rows.tolist(), reason)


def _finer(micros: pa.Array, nanos: pa.Array) -> NDArray[np.int64]:
    """The rows with a time that is another one in microseconds than in nanoseconds, at any depth."""
    kind = micros.type
    if pt.is_timestamp(kind):
        if kind == nanos.type:
            return np.empty(0, np.int64)
        whole, exact = (pc.fill_null(one.cast(pa.int64()), 0).to_numpy() for one in (micros, nanos))
        return np.flatnonzero(whole * 1000 != exact)
    if pt.is_struct(kind):
        found = [_finer(*pair) for pair in zip(micros.flatten(), nanos.flatten(), strict=True)]
        return np.unique(np.concatenate(found))
    if pt.is_map(kind):
        pairs = [pa.list_(pa.struct([one.key_field, one.item_field])) for one in (kind, nanos.type)]
        return _finer(micros.cast(pairs[0]), nanos.cast(pairs[1]))
    if pt.is_nested(kind):
        rows = pc.list_parent_indices(micros).to_numpy()
        return np.unique(rows[_finer(pc.list_flatten(micros), pc.list_flatten(nanos))])
    return np.empty(0, np.int64)
