"""Rows in Hive's folders: `--partition-by 'day(at),country'` makes `at_day=2026-01-01/country=NO`."""

from collections.abc import Collection, Iterator, Sequence
from typing import Literal
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.types as pt
from numpy.typing import NDArray

from encoder.errors import ConfigurationError, InputError
from pipelines.records.event_time import EARLIEST, LATEST, event_times
from pipelines.records.text import as_text
from pipelines.sinks.tables.partitioning import PartitionField
from pipelines.sources.files.partitions import NULL_PARTITION

__all__ = ["check_folders", "split_into_folders"]

_PERIODS: dict[str, Literal["Y", "M", "D", "h"]] = {"year": "Y", "month": "M", "day": "D", "hour": "h"}
_LONGEST = 200  # bytes of a folder's name: file systems take 255
_MOST_FOLDERS = 1000


def _texts(field: PartitionField, rows: pa.Table) -> pa.Array:
    """`(n,)` strings, the partition of each row as its folder names it; null for a null, and for no time."""
    column = rows[field.column].combine_chunks()
    if field.period is None:
        return as_text(column).cast(pa.string())
    micros = event_times(column)
    known = (micros >= EARLIEST) & (micros <= LATEST)
    times = np.where(known, micros, 0).astype("datetime64[us]")
    found, places = np.unique(times.astype(f"datetime64[{_PERIODS[field.period]}]"), return_inverse=True)
    names = pa.array([str(one).replace("T", "-") for one in found], pa.string())
    return names.take(pa.array(places.ravel(), mask=~known))


def check_folders(fields: Sequence[PartitionField], schema: pa.Schema, masked: Collection[str] = ()) -> None:
    """Check that records have columns that can name folders.

    Args:
        fields: the partitions.
        schema: the columns of the rows, without those that a model adds.
        masked: fields whose values are masked, and so name no folders.

    Raises:
        ConfigurationError: a column is missing, is no time where a period of it is asked for, or has values
            that make no names.
    """
    for field in fields:
        if field.column not in schema.names:
            raise ConfigurationError(
                f"--partition-by names {field.column!r}, and the rows have only {', '.join(schema.names)}"
            )
        if any(f"{name}.".startswith(f"{field.column}.") for name in masked):
            raise ConfigurationError(f"--partition-by names {field.column!r}, which --mask-fields masks")
        kind = schema.field(field.column).type
        if field.period:
            _check_times(field, kind)
        is_name = pt.is_string(kind) or pt.is_large_string(kind) or pt.is_integer(kind) or pt.is_boolean(kind)
        if field.period is None and not (is_name or pt.is_date(kind) or pt.is_dictionary(kind)):
            raise ConfigurationError(
                f"--partition-by names {field.column!r}, which is {kind}: name a column of text, whole "
                f"numbers, booleans or dates, or a period of times, as in day({field.column})"
            )
        if field.period is not None and field.name in schema.names:
            raise ConfigurationError(
                f"--partition-by {field} makes folders {field.name}=…, and the rows have a column of this "
                "name: leave it out with --fields or --keep"
            )


def _check_times(field: PartitionField, kind: pa.DataType) -> None:
    try:
        event_times(pa.array([], kind))
    except InputError as error:
        raise ConfigurationError(
            f"--partition-by asks for the {field.period} of {field.column!r}, which is {kind}: name a column "
            "of timestamps, dates, text or numbers"
        ) from error


def split_into_folders(
    rows: pa.Table, fields: Sequence[PartitionField]
) -> Iterator[tuple[str, pa.Table, NDArray[np.int64]]]:
    """Split rows by the folders of Hive: `at_day=2026-01-01/country=NO`.

    Args:
        rows: `(n,)` rows with the columns that partition.
        fields: the partitions.

    Yields:
        A folder, its rows in their order without the columns whose values it names, and the positions of
        these rows, int64.

    Raises:
        ConfigurationError: there are too many folders, or a name is too long for one.
    """
    texts = [_texts(field, rows) for field in fields]
    codes = [text.dictionary_encode("encode").indices.to_numpy() for text in texts]
    _, firsts, numbers = np.unique(np.stack(codes, 1), axis=0, return_index=True, return_inverse=True)
    if len(firsts) > _MOST_FOLDERS:
        raise ConfigurationError(
            f"--partition-by {','.join(map(str, fields))} makes {len(firsts):,} folders of {len(rows):,} "
            f"rows, and at most {_MOST_FOLDERS:,} are written at a time: name columns with fewer values, or "
            "put fewer rows into a file with --rows-per-file"
        )
    kept = rows.drop_columns([field.column for field in fields if field.period is None])
    folders = [
        "/".join(_folder(field, text[first].as_py()) for field, text in zip(fields, texts, strict=True))
        for first in firsts.tolist()
    ]
    if len(folders) == 1:
        yield folders[0], kept, np.arange(len(rows))
        return
    order = np.argsort(numbers.ravel(), kind="stable")
    edges = np.searchsorted(numbers.ravel()[order], np.arange(len(folders) + 1)).tolist()
    for folder, begin, end in zip(folders, edges, edges[1:], strict=False):
        mine = order[begin:end]
        yield folder, kept.take(pa.array(mine)), mine


def _folder(field: PartitionField, text: str | None) -> str:
    name = f"{quote(field.name, safe=' ')}={NULL_PARTITION if text is None else quote(text, safe=' ')}"
    if len(name) > _LONGEST:
        raise ConfigurationError(
            f"--partition-by names {field.column!r}, and {name[:60]}… is too long for a folder: name a "
            "column with short values"
        )
    return name
