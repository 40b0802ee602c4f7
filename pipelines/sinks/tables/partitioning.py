"""Partitions of a table: `--partition-by 'day(at),country'` keeps rows of a day and a country together."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from encoder.errors import ConfigurationError

__all__ = ["PERIODS", "PartitionField", "check_partitions", "parse_partition_by", "split_rows"]

PERIODS = ("year", "month", "day", "hour")
_FIELD = re.compile(r"(?:(?P<period>\w+)\((?P<timed>[^()]+)\)|(?P<plain>[^()]+))")


@dataclass(frozen=True)
class PartitionField:
    """One column that partitions a table.

    Attributes:
        column: of the records.
        period: `year`, `month`, `day` or `hour` of the column; None for its values.
    """

    column: str
    period: str | None = None

    def __str__(self) -> str:
        return f"{self.period}({self.column})" if self.period else self.column

    @property
    def name(self) -> str:
        """The name of the partition."""
        return f"{self.column}_{self.period}" if self.period else self.column

    def type(self, kind: pa.DataType) -> pa.DataType:
        """The type of the partition's values, for a column of this type."""
        return kind if self.period in (None, "hour") else pa.date32()

    def values(self, rows: pa.Table) -> pa.ChunkedArray:
        """The partition of each row: the column's value, or the beginning of its period."""
        column = rows[self.column]
        if self.period is None:
            return column
        return pc.floor_temporal(column, unit=self.period).cast(self.type(column.type))


def parse_partition_by(text: str | None) -> tuple[PartitionField, ...]:
    """Parse `day(at),country`.

    Raises:
        ConfigurationError: a part is neither a column nor a period of one, or two are the same.
    """
    fields: list[PartitionField] = []
    for part in filter(None, map(str.strip, (text or "").split(","))):
        found = _FIELD.fullmatch(part)
        if found is None or (found["period"] and found["period"] not in PERIODS):
            raise ConfigurationError(
                f"cannot read {part!r} in --partition-by: write a column, or {', '.join(PERIODS)} of one, as "
                "in day(at)"
            )
        field = PartitionField((found["timed"] or found["plain"]).strip(), found["period"])
        if any(field.name == one.name for one in fields):
            raise ConfigurationError(f"--partition-by names {field} twice: leave one of them out")
        fields.append(field)
    return tuple(fields)


def check_partitions(fields: Sequence[PartitionField], schema: pa.Schema) -> None:
    """Check that records have the columns that partition a table.

    Args:
        fields: the partitions.
        schema: the columns of the table, as stored.

    Raises:
        ConfigurationError: a column is missing, or is no time where a period of it is asked for.
    """
    for field in fields:
        if field.column not in schema.names:
            raise ConfigurationError(
                f"--partition-by names {field.column!r}, and the records have only {', '.join(schema.names)}"
            )
        kind = schema.field(field.column).type
        is_timed = pt.is_timestamp(kind) or (pt.is_date(kind) and field.period != "hour")
        if field.period and not is_timed:
            raise ConfigurationError(
                f"--partition-by asks for the {field.period} of {field.column!r}, which is {kind}: give the "
                f"field a type of time, such as timestamp[us, tz=UTC]"
            )
        if field.period is None and pt.is_nested(kind):
            raise ConfigurationError(
                f"--partition-by names {field.column!r}, which is {kind}: name a column of plain values"
            )


def split_rows(rows: pa.Table, fields: Sequence[PartitionField]) -> Iterator[tuple[dict[str, Any], pa.Table]]:
    """Split rows by their partitions.

    Args:
        rows: `(n,)` rows with the columns that partition.
        fields: the partitions; without any, all rows stay together.

    Yields:
        The values of a partition by its name, and its rows in their order.
    """
    if not fields or not len(rows):
        yield {}, rows
        return
    columns = [field.values(rows).combine_chunks() for field in fields]
    columns = [one.combine_chunks() if isinstance(one, pa.ChunkedArray) else one for one in columns]
    codes = [column.dictionary_encode("encode").indices.to_numpy() for column in columns]
    _, firsts, numbers = np.unique(np.stack(codes, 1), axis=0, return_index=True, return_inverse=True)
    for number, first in enumerate(firsts.tolist()):
        values = {field.name: column[first].as_py() for field, column in zip(fields, columns, strict=True)}
        yield values, rows.take(pa.array(np.flatnonzero(numbers.ravel() == number)))
