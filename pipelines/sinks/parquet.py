"""Parquet files in a folder or a bucket; each appears whole or not at all."""

import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from encoder.reference import store_uri
from encoder.store.local import NO_LINKS
from encoder.store.objects import Objects, open_objects

__all__ = ["ParquetParts", "PartExists", "PartWriter", "file_metadata", "parquet_writer", "row_counts"]

_STAGING = "_staging"
_FOOTERS = 16  # that are read at the same time
_FOOTER = 1 << 16  # bytes at the end of a file that hold almost any footer
_PLAIN = {"embedding"}  # vectors do not compress or repeat; plain encoding is three times as fast


class PartExists(Exception):
    """A file that was to be new is there already."""


class ParquetParts:
    """Writes record batches as Parquet files under one URI.

    The end of `new` is the commit: the file appears under its name in one step. Names come from positions in
    the input, so a repeated write replaces a file with the same rows.
    """

    def __init__(self, uri: str) -> None:
        self.uri = store_uri(uri)
        parts = urlsplit(self.uri)
        self._folder = Path(unquote(parts.path)) if parts.scheme == "file" else None
        self._objects = open_objects(self.uri)

    @contextmanager
    def new(self, name: str, schema: pa.Schema, *, replace: bool = True) -> Iterator["PartWriter"]:
        """Write one file; it appears at the end of the block, and not after an error.

        Args:
            name: of the file under the URI, perhaps in folders.
            schema: of its rows.
            replace: whether it may replace a file of this name.

        Yields:
            The writer; each batch becomes a row group.

        Raises:
            PartExists: there is a file of this name, and it may not be replaced.
        """
        if self._folder is None:
            sink = pa.BufferOutputStream()
            with parquet_writer(sink, schema) as writer:
                yield PartWriter(writer)
            data = memoryview(sink.getvalue()).cast("B")
            if replace:
                self._objects.overwrite(name, data)
            elif not self._objects.create(name, data):
                raise PartExists(name)
            return
        staging = self._folder / _STAGING
        staging.mkdir(parents=True, exist_ok=True)
        temporary = staging / f"{name.rpartition('/')[2]}.{uuid.uuid4().hex}"
        try:
            with pa.OSFile(str(temporary), "wb") as file, parquet_writer(file, schema) as writer:
                yield PartWriter(writer)
            self._publish(temporary, self._folder / name, replace=replace)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    @staticmethod
    def _publish(temporary: Path, target: Path, *, replace: bool) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if replace:
                temporary.replace(target)
            else:
                _link(temporary, target)
        except FileExistsError:
            raise PartExists(target.name) from None
        except FileNotFoundError:
            # Another run of the same job has ended and swept up; it has written this file, too.
            if not target.exists():
                raise

    def names(self) -> list[str]:
        """The names of the files, sorted."""
        keys = (info.key for info in self._objects.scan(""))
        return [key for key in keys if key.endswith(".parquet") and "/" not in key]

    def metadata(self, name: str) -> dict[str, str]:
        """The key-value metadata of a file, with its number of rows as `rows`; reads only the footer."""
        return file_metadata(self._objects, name)

    def sweep(self) -> None:
        """Remove what killed processes left behind. Call it only when nobody writes any more."""
        if self._folder is None:
            return
        staging = self._folder / _STAGING
        with suppress(OSError):  # leftovers do no harm
            for path in staging.iterdir():
                path.unlink(missing_ok=True)
            staging.rmdir()


def _link(temporary: Path, target: Path) -> None:
    """Rename a file unless the target exists."""
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if target.exists():
            raise FileExistsError(str(target)) from None
        temporary.replace(target)
    else:
        temporary.unlink(missing_ok=True)


def file_metadata(objects: Objects, name: str) -> dict[str, str]:
    """The key-value metadata of a Parquet file, with its number of rows as `rows`; reads only the footer."""
    end = objects.read_end(name, _FOOTER)
    size = int.from_bytes(end[-8:-4], "little") + 8  # the footer's length and PAR1 follow it
    if size > len(end):
        end = objects.read_end(name, size)
    footer = pq.read_metadata(pa.BufferReader(end))
    pairs = footer.metadata or {}
    return {
        **{k.decode(): v.decode("utf-8", "replace") for k, v in pairs.items()},
        "rows": str(footer.num_rows),
    }


def row_counts(objects: Objects, names: Sequence[str]) -> list[int]:
    """The number of rows of each of some Parquet files; reads only the footers, several at a time."""
    with ThreadPoolExecutor(_FOOTERS) as pool:
        return [int(found["rows"]) for found in pool.map(partial(file_metadata, objects), names)]


class PartWriter:
    """Writes the batches of one file."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows as one row group."""
        self._writer.write_batch(batch, row_group_size=max(1, batch.num_rows))

    def describe(self, metadata: dict[str, str]) -> None:
        """Add to the file's key-value metadata."""
        self._writer.add_key_value_metadata(metadata)


def parquet_writer(sink: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer that stores vectors plainly and compresses the other columns."""
    plain = [leaf for field in schema if field.name in _PLAIN for leaf in _leaves(field.type, field.name)]
    rich = [leaf for field in schema if field.name not in _PLAIN for leaf in _leaves(field.type, field.name)]
    return pq.ParquetWriter(
        sink,
        schema,
        compression={**dict.fromkeys(rich, "zstd"), **dict.fromkeys(plain, "none")},
        use_dictionary=rich,
        write_statistics=rich,
    )


def _leaves(kind: pa.DataType, path: str) -> list[str]:
    """The Parquet paths of a column's leaves."""
    if pa.types.is_struct(kind):
        return [leaf for child in kind for leaf in _leaves(child.type, f"{path}.{child.name}")]
    if pa.types.is_map(kind):
        parts = (("key", kind.key_type), ("value", kind.item_type))
        return [leaf for name, part in parts for leaf in _leaves(part, f"{path}.key_value.{name}")]
    if hasattr(kind, "value_type") and not pa.types.is_dictionary(kind):  # a list of any kind
        return _leaves(kind.value_type, f"{path}.list.element")
    return [path]
