"""Iceberg tables, through PyIceberg: its configuration names catalogs and their credentials.

Positions of the input are a property of the table and in the summary of each snapshot, in the same commit as
the rows. The property survives when snapshots expire; the summary goes back with the table when somebody
rolls it back, so it counts for more where both are there.
"""

import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import msgspec
import pyarrow as pa

from encoder.errors import ConfigurationError, MissingExtra, StoreUnavailable
from encoder.store.objects import open_objects
from pipelines.sinks.parquet import parquet_writer, row_counts
from pipelines.sinks.tables.columns import stored_schema
from pipelines.sinks.tables.partitioning import PERIODS, PartitionField, check_partitions, split_rows
from pipelines.sinks.tables.port import Conflict, Offset

try:
    from pyiceberg import exceptions as refusals
    from pyiceberg.catalog import Catalog, load_catalog
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.table import Table as PyIcebergTable
    from pyiceberg.table import TableProperties
    from pyiceberg.table.snapshots import ancestors_of
except ImportError as missing:
    raise MissingExtra("pyiceberg, which writes Iceberg tables,", "iceberg") from missing

__all__ = ["OFFSETS", "IcebergTable", "open_catalog"]

OFFSETS = "millstream.offsets"
"""The property of tables and snapshots that holds positions: `{"payments/0": [0, 1200], …}`."""

_ROW_GROUP = 16_384
_NO_STATISTICS = ("embedding", "embedding.element")  # of vectors nobody asks for the smallest
# What PyIceberg is to do for this process alone: nothing of it is written. It would retry a commit that
# conflicts on top of the other one, whatever that one has written.
_IN_MEMORY = {
    TableProperties.COMMIT_NUM_RETRIES: "0",
    **{f"write.metadata.metrics.column.{name}": "none" for name in _NO_STATISTICS},
}
_CREATED = {TableProperties.METADATA_DELETE_AFTER_COMMIT_ENABLED: "true"}  # each commit leaves a file of them
_REFUSED = (
    refusals.BadRequestError,
    refusals.ForbiddenError,
    refusals.OAuthError,
    refusals.UnauthorizedError,
    refusals.NoSuchNamespaceError,
    refusals.NoSuchTableError,
    refusals.NotInstalledError,
)


def open_catalog(name: str) -> Catalog:
    """Open a catalog by PyIceberg's configuration.

    A catalog in a database has a pool of connections, which nobody closes: they go with its last table.

    Raises:
        ValueError: it is not configured.
    """
    catalog = load_catalog(name)
    if (engine := getattr(catalog, "engine", None)) is not None:
        weakref.finalize(catalog, engine.dispose)
    return catalog


class IcebergTable:
    """A table in one of PyIceberg's catalogs.

    Args:
        target: `CATALOG/NAMESPACE.TABLE`.
        partitions: what partitions the table if it is created.

    Raises:
        ConfigurationError: the target cannot be read, or PyIceberg does not know the catalog.
        StoreUnavailable: the catalog does not answer.
    """

    def __init__(self, target: str, partitions: Sequence[PartitionField] = ()) -> None:
        self.uri = f"iceberg:{target}"
        self._partitions = tuple(partitions)
        name, _, table = target.partition("/")
        self._identifier = tuple(table.split("."))
        if not name or len(self._identifier) < 2 or not all(self._identifier):
            raise ConfigurationError(f"cannot read {self.uri!r}: write iceberg:CATALOG/NAMESPACE.TABLE")
        with _errors(self.uri):
            try:
                self._catalog = open_catalog(name)
            except ValueError as error:  # it is not configured
                raise ConfigurationError(
                    f"PyIceberg cannot open the catalog {name!r} of {self.uri} ({error}): describe it in "
                    f".pyiceberg.yaml or with PYICEBERG_CATALOG__{name.upper()}__URI"
                ) from error

    def look(self) -> "IcebergState | None":
        with _errors(self.uri):
            try:
                return IcebergState(self.uri, self._catalog.load_table(self._identifier))
            except refusals.NoSuchTableError:
                return None

    def create(self, schema: pa.Schema) -> None:
        check_partitions(self._partitions, schema)
        with _errors(self.uri):
            try:
                with (
                    self._catalog.create_table_transaction(
                        self._identifier, schema, properties=_CREATED
                    ) as transaction,
                    transaction.update_spec() as spec,
                ):
                    for field in self._partitions:
                        spec.add_field(field.column, field.period or "identity", field.name)
            except (refusals.TableAlreadyExistsError, refusals.CommitFailedException):
                pass  # somebody else was faster
            except refusals.NoSuchNamespaceError as error:
                namespace = ".".join(self._identifier[:-1])
                raise ConfigurationError(
                    f"the catalog of {self.uri} has no namespace {namespace!r}: create it first"
                ) from error

    def stored(self, schema: pa.Schema) -> pa.Schema:
        return stored_schema(schema, "iceberg")


class IcebergState:
    """An Iceberg table as it was when somebody looked at it.

    Args:
        uri: of the table, for messages.
        table: PyIceberg's.
    """

    def __init__(self, uri: str, table: PyIcebergTable) -> None:
        self._uri = uri
        self._table = table
        self.properties: Mapping[str, str] = dict(table.properties)

    @cached_property
    def schema(self) -> pa.Schema:
        return self._table.schema().as_arrow()

    def offset(self, key: str) -> Offset | None:
        found = self._offsets.get(key)
        return None if found is None else Offset(*found)

    @cached_property
    def _offsets(self) -> dict[str, tuple[int, int]]:
        """The positions of the last snapshot that has some, or those of the table if none has."""
        text = self.properties.get(OFFSETS, "{}")
        for snapshot in ancestors_of(self._table.current_snapshot(), self._table.metadata):
            if snapshot.summary is not None and OFFSETS in snapshot.summary.additional_properties:
                text = snapshot.summary.additional_properties[OFFSETS]
                break
        return msgspec.json.decode(text, type=dict[str, tuple[int, int]])

    def write(self, rows: pa.Table, n_bytes: int) -> list[str]:
        with _errors(self._uri):
            return [
                self._write(part)
                for _, own in split_rows(rows, _partitions(self._uri, self._table.spec(), self._table))
                for part in _parts(own, n_bytes)
            ]

    def _write(self, rows: pa.Table) -> str:
        path = self._table.location_provider().new_data_location(f"millstream-{uuid.uuid4()}.parquet")
        with (
            self._table.io.new_output(path).create() as file,
            parquet_writer(file, rows.schema) as writer,
        ):
            writer.write_table(rows, row_group_size=_ROW_GROUP)
        return path

    @property
    def is_partitioned(self) -> bool:
        return not self._table.spec().is_unpartitioned()

    def part_folder(self, name: str) -> str:
        return self._table.location_provider().data_path + f"/{name}"

    def files_of(self, folder: str, names: Sequence[str]) -> list[str]:
        counts = row_counts(open_objects(folder), names)
        return [f"{folder}/{name}" for name, n_rows in zip(names, counts, strict=True) if n_rows]

    def append(self, files: Sequence[str], offsets: Mapping[str, Offset]) -> None:
        known = {**self._offsets, **offsets}
        positions = {OFFSETS: msgspec.json.encode(known, order="sorted").decode()} if known else {}
        with _errors(self._uri), self._transaction() as transaction:
            if positions:
                transaction.set_properties(positions)
            transaction.add_files(list(files), snapshot_properties=positions, check_duplicate_files=False)

    def add_columns(self, schema: pa.Schema) -> None:
        with _errors(self._uri), self._transaction() as transaction, transaction.update_schema() as update:
            update.union_by_name(schema)

    def set_property(self, name: str, value: str) -> None:
        with _errors(self._uri), self._transaction() as transaction:
            transaction.set_properties({name: value})
            with transaction.update_snapshot().fast_append():
                pass  # a snapshot without files: it conflicts with whatever comes between

    def _transaction(self) -> Any:
        self._table.metadata.properties.update(_IN_MEMORY)
        return self._table.transaction()


def _partitions(uri: str, spec: PartitionSpec, table: PyIcebergTable) -> list[PartitionField]:
    """What partitions a table.

    Raises:
        ConfigurationError: something that cannot be told from a file's statistics, such as a bucket.
    """
    fields = []
    for field in spec.fields:
        column, transform = table.schema().find_column_name(field.source_id) or "", str(field.transform)
        if transform == "void":
            continue
        if transform not in ("identity", *PERIODS) or "." in column:
            raise ConfigurationError(
                f"{uri} is partitioned by {transform} of {column!r}: only columns and their "
                f"{', '.join(PERIODS)} are supported"
            )
        fields.append(PartitionField(column, None if transform == "identity" else transform))
    return fields


def _parts(rows: pa.Table, n_bytes: int) -> Iterator[pa.Table]:
    """Rows in parts of at most about so many bytes."""
    n_rows = max(1, len(rows) * n_bytes // max(rows.nbytes, 1))
    for first in range(0, len(rows), n_rows):
        yield rows.slice(first, n_rows)


@contextmanager
def _errors(uri: str) -> Iterator[None]:
    """PyIceberg's errors as ours; those of a broken program pass."""
    try:
        yield
    except refusals.CommitFailedException as error:
        raise Conflict(str(error)) from error
    except _REFUSED as error:
        raise ConfigurationError(f"{uri} refuses: {_line(error)}") from error
    except (OSError, refusals.RESTError) as error:
        raise StoreUnavailable(f"{uri} does not answer: {_line(error)}") from error
    except Exception as error:
        if type(error).__module__.startswith("sqlalchemy."):
            raise StoreUnavailable(f"{uri} does not answer: {_line(error)}") from error
        raise


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
