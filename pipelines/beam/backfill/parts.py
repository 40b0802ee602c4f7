"""The parts of a backfill's output: a file each, or with `--partition-by` several files and a marker.

part-00000-000000000000-00000.parquet                          a part
at_day=2026-01-01/part-00000-000000000000-00000.parquet        the rows of this day in a part
_parts/part-00000-000000000000-00000.json                      says that all files of the part are there
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec
import pyarrow as pa

from encoder.store.objects import open_objects
from pipelines.sinks.hive_folders import split_into_folders
from pipelines.sinks.parquet import ParquetParts
from pipelines.sinks.tables.partitioning import PartitionField

__all__ = ["OpenPart", "Parts"]

_MARKERS = "_parts"


class OpenPart:
    """A part that is being written."""

    def __init__(self) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.metadata: Mapping[str, str] = {}

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        self.batches.append(batch)

    def describe(self, metadata: Mapping[str, str]) -> None:
        """Set the metadata of its files."""
        self.metadata = metadata


class Parts:
    """The parts of an output.

    Args:
        output: URI of the output folder.
        partitions: by what rows are kept apart.
    """

    def __init__(self, output: str, partitions: Sequence[PartitionField] = ()) -> None:
        self._files = ParquetParts(output)
        self._objects = open_objects(output)
        self._partitions = partitions

    def names(self) -> list[str]:
        """The names of the parts that are complete."""
        if not self._partitions:
            return self._files.names()
        keys = [info.key for info in self._objects.scan(_MARKERS)]
        return [f"{key.rpartition('/')[2].removesuffix('.json')}.parquet" for key in keys]

    def metadata(self, name: str) -> dict[str, str]:
        """The metadata of a part, with its number of rows as `rows`."""
        if not self._partitions:
            return self._files.metadata(name)
        return msgspec.json.decode(self._objects.read(_marker(name)), type=dict[str, str])

    @contextmanager
    def new(self, name: str, schema: pa.Schema) -> Iterator[OpenPart]:
        """Write a part in folders; it is complete at the end of the block, and not after an error.

        Args:
            name: of the part.
            schema: of its rows.

        Raises:
            ConfigurationError: its rows have too many partitions.
        """
        part = OpenPart()
        yield part
        rows = pa.Table.from_batches(part.batches, schema)
        for folder, table, _ in split_into_folders(rows, self._partitions) if len(rows) else ():
            with self._files.new(f"{folder}/{name}", table.schema) as file:
                for batch in table.combine_chunks().to_batches():
                    file.write(batch)
                file.describe(dict(part.metadata))
        done = {**part.metadata, "rows": str(len(rows))}
        self._objects.overwrite(_marker(name), msgspec.json.encode(done))

    def sweep(self) -> None:
        """Remove what killed processes left behind. Call it only when nobody writes any more."""
        self._files.sweep()


def _marker(name: str) -> str:
    return f"{_MARKERS}/{name.removesuffix('.parquet')}.json"
