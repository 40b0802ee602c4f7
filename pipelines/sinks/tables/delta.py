"""Delta tables, through deltalake: its environment variables name credentials and endpoints.

Positions of the input are application transactions of the table, one for each partition, in the same commit
as the rows. Delta refuses a commit if another one with the same transaction came between.
"""

import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from functools import cached_property
from typing import Any

import msgspec
import pyarrow as pa

from encoder.errors import ConfigurationError, MissingExtra, StoreUnavailable
from encoder.reference import store_uri
from encoder.store.objects import Objects, open_objects
from encoder.store.publish import prove_create_only
from pipelines.sinks.memory import FileMemory
from pipelines.sinks.parquet import parquet_writer, row_counts
from pipelines.sinks.tables.columns import stored_schema
from pipelines.sinks.tables.partitioning import (
    PartitionField,
    check_partitions,
    parse_partition_by,
    split_rows,
)
from pipelines.sinks.tables.port import Conflict, Offset

try:
    from deltalake import CommitProperties, DeltaTable, Schema, Transaction
    from deltalake.exceptions import (
        CommitFailedError,
        DeltaError,
        DeltaProtocolError,
        SchemaMismatchError,
        TableNotFoundError,
    )
    from deltalake.transaction import AddAction
except ImportError as missing:
    raise MissingExtra("deltalake, which writes Delta tables,", "delta") from missing

__all__ = ["DeltaLakeTable"]

_ROW_GROUP = 16_384
_UNSUPPORTED = ("delta.columnMapping.mode", "delta.constraints.")
_PARTITIONS = "millstream.partition_by"


class DeltaLakeTable:
    """A Delta table in a folder or a bucket.

    Args:
        target: its URI or path.
        partitions: what partitions the table if it is created. Delta partitions by columns, so that a period
            becomes a column such as `at_day`.

    Raises:
        InvalidReference: the URI is invalid.
        ConfigurationError: the environment lacks a setting that the cloud needs.
    """

    def __init__(self, target: str, partitions: Sequence[PartitionField] = ()) -> None:
        self._location = store_uri(target)
        self.uri = f"delta:{target}"
        self._partitions = tuple(partitions)
        self._objects = open_objects(self._location)
        self._options: dict[str, str] = {}
        if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):  # else it asks for https
            self._options["AWS_ALLOW_HTTP"] = "true"
        self._memory = FileMemory()

    def look(self) -> "DeltaState | None":
        with _errors(self.uri):
            try:
                table = DeltaTable(self._location, storage_options=self._options)
            except TableNotFoundError:
                return None
        return DeltaState(self.uri, table, self._objects, self._memory)

    def create(self, schema: pa.Schema) -> None:
        check_partitions(self._partitions, schema)
        prove_create_only(self._objects)  # commits are such writes
        own = [
            pa.field(field.name, field.type(schema.field(field.column).type))
            for field in self._partitions
            if field.period
        ]
        properties = {_PARTITIONS: ",".join(map(str, self._partitions))} if self._partitions else {}
        with _errors(self.uri):
            try:
                DeltaTable.create(
                    self._location,
                    pa.schema([*schema, *own]),
                    partition_by=[field.name for field in self._partitions],
                    configuration=properties,
                    storage_options=self._options,
                    raise_if_key_not_exists=False,
                )
            except DeltaError:
                if self.look() is None:
                    raise  # else somebody else was faster

    def stored(self, schema: pa.Schema) -> pa.Schema:
        return stored_schema(schema, "delta")


class DeltaState:
    """A Delta table as it was when somebody looked at it.

    Args:
        uri: of the table, for messages.
        table: deltalake's.
        objects: its folder.
        memory: for files.
    """

    def __init__(self, uri: str, table: DeltaTable, objects: Objects, memory: FileMemory) -> None:
        self._uri = uri
        self._table = table
        self._objects = objects
        self._memory = memory
        metadata = table.metadata()
        self.properties: Mapping[str, str] = dict(metadata.configuration)
        self._columns: list[str] = list(metadata.partition_columns)
        for name in self.properties:
            if name.startswith(_UNSUPPORTED) and self.properties[name] != "none":
                raise ConfigurationError(
                    f"{uri} has {name}, which a writer of files cannot keep to: name another table"
                )

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns without those that partition by a period, which are made of others."""
        made = {field.name for field in self._partitions if field.period}
        found = pa.schema(self._table.schema().to_arrow())
        return pa.schema([field for field in found if field.name not in made])

    @cached_property
    def _partitions(self) -> list[PartitionField]:
        known = {field.name: field for field in parse_partition_by(self.properties.get(_PARTITIONS))}
        return [known.get(name, PartitionField(name)) for name in self._columns]

    def offset(self, key: str) -> Offset | None:
        with _errors(self._uri):
            end = self._table.transaction_version(_application(key))
            epoch = self._table.transaction_version(_epoch(key))
        return None if end is None else Offset(epoch or 0, end)

    def write(self, rows: pa.Table, n_bytes: int) -> list[AddAction]:
        columns = set(self._columns)
        made = []
        for values, part in split_rows(rows, self._partitions):
            own = part.drop_columns(
                [name for name in part.column_names if name in columns]
            )  # the log has them
            n_rows = max(1, len(own) * n_bytes // max(own.nbytes, 1))
            made += [self._write(own.slice(first, n_rows), values) for first in range(0, len(own), n_rows)]
        return made

    def _write(self, rows: pa.Table, values: Mapping[str, Any]) -> AddAction:
        path = f"millstream-{uuid.uuid4()}.parquet"

        def write(sink: pa.NativeFile) -> None:
            with parquet_writer(sink, rows.schema) as writer:
                writer.write_table(rows, row_group_size=_ROW_GROUP)

        with self._memory.file(rows.nbytes, write) as data:
            self._objects.create(path, data)
            size = len(data)
        return _added(path, size, len(rows), values)

    @property
    def is_partitioned(self) -> bool:
        return bool(self._columns)

    def part_folder(self, name: str) -> str:
        return f"{self._objects.uri}/{name}"

    def files_of(self, folder: str, names: Sequence[str]) -> list[AddAction]:
        inner = folder.removeprefix(f"{self._objects.uri}/")
        sizes = {info.key: info.size for info in self._objects.scan(inner)}
        keys = [f"{inner}/{name}" for name in names]
        counts = zip(keys, row_counts(self._objects, keys), strict=True)
        return [_added(key, sizes[key], n_rows, {}) for key, n_rows in counts if n_rows]

    def append(self, files: Sequence[AddAction], offsets: Mapping[str, Offset]) -> None:
        positions = [Transaction(_application(key), one.next) for key, one in offsets.items()]
        positions += [Transaction(_epoch(key), one.epoch) for key, one in offsets.items() if one.epoch]
        with _errors(self._uri):
            self._table.create_write_transaction(
                list(files),
                "append",
                self._table.schema(),
                self._columns,
                commit_properties=CommitProperties(app_transactions=positions),
            )

    def add_columns(self, schema: pa.Schema) -> None:
        with _errors(self._uri):
            self._table.alter.add_columns(Schema.from_arrow(schema).fields)

    def set_property(self, name: str, value: str) -> None:
        with _errors(self._uri):
            self._table.alter.set_table_properties({name: value}, raise_if_not_exists=False)


def _added(path: str, size: int, n_rows: int, values: Mapping[str, Any]) -> AddAction:
    statistics = msgspec.json.encode({"numRecords": n_rows}).decode()
    partition = {name: _text(value) for name, value in values.items()}
    return AddAction(path, size, partition, time.time_ns() // 1_000_000, True, statistics)


def _application(key: str) -> str:
    return f"millstream/{key}"


def _epoch(key: str) -> str:
    return f"millstream/{key}/epoch"


def _text(value: Any) -> str | None:
    """A partition's value as Delta's log writes it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")
    return value.isoformat() if isinstance(value, date) else str(value)


@contextmanager
def _errors(uri: str) -> Iterator[None]:
    """The errors of deltalake as ours."""
    try:
        yield
    except CommitFailedError as error:
        raise Conflict(str(error)) from error
    except (DeltaProtocolError, SchemaMismatchError) as error:
        raise ConfigurationError(f"{uri} refuses: {_line(error)}") from error
    except (OSError, DeltaError) as error:
        raise StoreUnavailable(f"{uri} does not answer: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
