"""Ranges of offsets whose rows are in several files, one in each folder of a partitioned output.

    _ranges/payments/p3/00000000000000120000.json                {"end": 120999}
    at_day=2026-01-01/payments-p3-00000000000000120000.parquet   the rows of this day among these offsets
    at_day=2026-01-02/payments-p3-00000000000000120000.parquet

A range is claimed before its files are written, and the claim is created, never replaced. So whoever writes
them after a crash writes the same files: those that are there stay. A partition's offset is committed once
all files of a range are there, so a range whose first offset is not behind what was committed is written once
more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from encoder.store.objects import Objects
from pipelines.sinks.hive_folders import split_into_folders
from pipelines.sinks.memory import FileMemory
from pipelines.sinks.open_files import OpenFile
from pipelines.sinks.parquet import parquet_writer
from pipelines.sinks.tables.partitioning import PartitionField

__all__ = ["FOLDER", "OffsetRanges", "RangeIsLonger", "file_writer"]

FOLDER = "_ranges"
_ROW_GROUP = 16_384


class RangeIsLonger(Exception):
    """A range was claimed up to an offset that its rows do not reach yet.

    Attributes:
        end: this offset.
    """

    def __init__(self, end: int) -> None:
        super().__init__(end)
        self.end = end


class _Claim(msgspec.Struct):
    end: int


@dataclass(frozen=True)
class OffsetRanges:
    """Writes the files of ranges.

    Attributes:
        objects: the folder or bucket.
        fields: the partitions.
    """

    objects: Objects
    fields: Sequence[PartitionField]

    def end_of(self, key: str) -> int:
        """The last offset of a range, by the key of its claim."""
        return msgspec.json.decode(self.objects.read(key), type=_Claim).end

    def write(
        self,
        key: str,
        file: OpenFile,
        metadata: Callable[[int], Mapping[str, str]],
        memory: FileMemory,
        check: Callable[[], None],
    ) -> int:
        """Write the files of a range.

        Args:
            key: of its claim.
            file: its rows, and perhaps more.
            metadata: of each file, for the last offset.
            memory: for a file on its way.
            check: called before anything is written.

        Returns:
            The last offset of the range, whoever has claimed it.

        Raises:
            RangeIsLonger: it was claimed with more rows than there are here.
            ConfigurationError: the rows have too many partitions.
        """
        rows = file.table()
        parts = list(split_into_folders(rows, self.fields))  # refused, if at all, before the range is claimed
        check()
        end = file.last
        if not self.objects.create(key, msgspec.json.encode(_Claim(end))):
            end = self.end_of(key)
        if end > file.last and not file.is_cut:
            raise RangeIsLonger(end)
        if end < file.last:
            parts = list(split_into_folders(file.table(end), self.fields))
        stem = key.removeprefix(f"{FOLDER}/").removesuffix(".json").replace("/", "-")
        for folder, table, _ in parts:
            with memory.file(table.nbytes, file_writer(table, metadata(end))) as data:
                self.objects.create(f"{folder}/{stem}.parquet", data)  # one that is there has the same rows
        return end


def file_writer(table: pa.Table, metadata: Mapping[str, str]) -> Callable[[pa.NativeFile], None]:
    """What writes rows as a Parquet file."""

    def write(sink: pa.NativeFile) -> None:
        with parquet_writer(sink, table.schema) as writer:
            writer.write_table(table, row_group_size=_ROW_GROUP)
            writer.add_key_value_metadata(dict(metadata))

    return write
