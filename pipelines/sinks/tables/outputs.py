"""Open the table that an output names."""

from collections.abc import Sequence

from pipelines.sinks.tables.columns import TableFormat
from pipelines.sinks.tables.partitioning import PartitionField
from pipelines.sinks.tables.port import Table

__all__ = ["TABLE_FORMATS", "open_table"]

TABLE_FORMATS: tuple[TableFormat, ...] = ("iceberg", "delta")


def open_table(form: TableFormat, target: str, partitions: Sequence[PartitionField] = ()) -> Table:
    """Open a table, which need not exist; writes nothing.

    Args:
        form: its format.
        target: `CATALOG/NAMESPACE.TABLE` for Iceberg, a URI or a path for Delta.
        partitions: what partitions the table if it is created.

    Raises:
        MissingExtra: the library that writes the format is not installed.
        ConfigurationError: the target cannot be read, or the environment does not say how to reach it.
        StoreUnavailable: the catalog does not answer.
    """
    if form == "iceberg":
        from pipelines.sinks.tables.iceberg import IcebergTable

        return IcebergTable(target, partitions)
    from pipelines.sinks.tables.delta import DeltaLakeTable

    return DeltaLakeTable(target, partitions)
