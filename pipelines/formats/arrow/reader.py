"""Rows of messages that are Arrow IPC streams, as `--output-format arrow` writes them.

    rows = read_stream(value, limit=64 << 20, columns=None)
    rows.batch, rows.bad

Nothing of a message is trusted: its declared sizes are looked at before anything is allocated, and its
buffers are checked before a value is read, since Arrow's kernels trust offsets.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from pipelines.formats.arrow.sizes import DamagedStream, schema_end, stream_size
from pipelines.records.bad_rows import good_rows, one_line
from pipelines.records.fields import join_batches
from pipelines.records.isolation import isolate
from pipelines.records.plain_types import plain_field, plain_type

__all__ = ["StreamRows", "read_stream", "row_stream", "stream_schema"]

_FILE_MAGIC = b"ARROW1"
_VIEW_BYTES = 16
_NO_LIMIT = 1 << 62


class StreamRows(NamedTuple):
    """The rows of a stream.

    Attributes:
        n_rows: how many there are.
        batch: the good rows, of plain types.
        bad: the positions of the others, and what is wrong with them.
    """

    n_rows: int
    batch: pa.RecordBatch
    bad: dict[int, str]

    @property
    def good(self) -> np.ndarray:
        """`(n_good,)` int64, the positions of the good rows."""
        return good_rows(self.n_rows, self.bad)


def read_stream(
    value: bytes | None, *, limit: int, row_bytes: int = 1, columns: Collection[str] | None = None
) -> StreamRows:
    """The rows of a stream.

    Args:
        value: the message.
        limit: the bytes that the rows may have.
        row_bytes: what each row has beside its own bytes, such as a vector.
        columns: the columns to read, where they are there; None for all.

    Raises:
        DamagedStream: the message is no stream that can be read.
    """
    _check(value, limit, row_bytes)
    assert value is not None
    batches, schema = _batches(value)
    names = [name for name in schema.names if columns is None or name in columns]
    if twice := next((name for name in names if schema.names.count(name) > 1), None):
        raise DamagedStream(f"it has two columns {twice!r}")
    n_rows = sum(batch.num_rows for batch in batches)
    bad: dict[int, str] = {}
    try:
        for batch in batches:
            batch.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise DamagedStream(one_line(error)) from error
        _check_without_text(value)
        bad = _not_text([batch.select(names) for batch in batches])
    parts = [_plain(batch.select(names), limit) for batch in batches]
    found = join_batches(parts, pa.schema([plain_field(schema.field(name)) for name in names]))
    if not names:  # without a column, a batch does not keep its number of rows
        found = pa.record_batch({"": pa.nulls(n_rows)})
    if bad:
        found = found.take(pa.array(good_rows(n_rows, bad)))
    return StreamRows(n_rows, found, bad)


def stream_schema(value: bytes | None) -> pa.Schema | None:
    """The schema of a stream, of plain types; None if the value is none."""
    try:
        _check(value, _NO_LIMIT)
        return pa.schema([plain_field(field) for field in pa.ipc.read_schema(pa.py_buffer(value))])
    except (DamagedStream, pa.ArrowException, OSError, ValueError):
        return None


@lru_cache(maxsize=1)  # of a message with many bad rows, each is asked for
def _known_batches(value: bytes) -> list[pa.RecordBatch]:
    return _batches(value)[0]


def row_stream(value: bytes, row: int) -> bytes:
    """One row of a stream that was read, as a stream of its own."""
    sink = pa.BufferOutputStream()
    for batch in _known_batches(value):
        if row < batch.num_rows:
            part = _plain(batch.slice(row, 1), _NO_LIMIT)
            with pa.ipc.new_stream(sink, part.schema) as writer:
                writer.write_batch(part)
            break
        row -= batch.num_rows
    row_bytes: bytes = sink.getvalue().to_pybytes()
    return row_bytes


def _check(value: bytes | None, limit: int, row_bytes: int = 0) -> None:
    """Refuse what is no stream, or too large."""
    if not value:
        raise DamagedStream("the value is null" if value is None else "the value is empty")
    if value.startswith(_FILE_MAGIC):
        raise DamagedStream("it is an Arrow file, not a stream: write it with pyarrow.ipc.new_stream")
    size = stream_size(value)
    if (n_bytes := size.n_bytes + size.rows * row_bytes) > limit:
        raise _too_large(n_bytes, limit)


def _too_large(n_bytes: int, limit: int) -> DamagedStream:
    return DamagedStream(
        f"its rows need {n_bytes:,} bytes of memory, more than {limit:,}: write fewer rows in a message"
    )


def _batches(value: bytes) -> tuple[list[pa.RecordBatch], pa.Schema]:
    try:
        with pa.ipc.open_stream(value) as reader:
            return list(reader), reader.schema
    except Exception as error:  # of any kind, since the bytes may be anything
        raise DamagedStream(one_line(error)) from error


def _check_without_text(value: bytes) -> None:
    """Check all that is not text, with text read as bytes: what is bad then is more than a text."""
    end = schema_end(value)
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(value[:end]))
        as_bytes = pa.schema([field.with_type(_bytes_type(field.type)) for field in schema])
        with pa.ipc.open_stream(as_bytes.serialize().to_pybytes() + value[end:]) as reader:
            for batch in reader:
                batch.validate(full=True)
    except Exception as error:  # of any kind, since the bytes may be anything
        raise DamagedStream(one_line(error)) from error


def _bytes_type(kind: pa.DataType) -> pa.DataType:
    """A type with the same buffers, whose texts are bytes."""
    texts = {
        pa.string(): pa.binary(),
        pa.large_string(): pa.large_binary(),
        pa.string_view(): pa.binary_view(),
    }
    if kind in texts:
        return texts[kind]
    if pt.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _bytes_type(kind.value_type), kind.ordered)
    if pt.is_struct(kind):
        return pa.struct([field.with_type(_bytes_type(field.type)) for field in kind])
    if pt.is_map(kind):
        return pa.map_(_bytes_type(kind.key_type), _bytes_type(kind.item_type))
    if pt.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_bytes_type(kind.value_type)), kind.list_size)
    if pt.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_bytes_type(kind.value_type)))
    if pt.is_list(kind):
        return pa.list_(kind.value_field.with_type(_bytes_type(kind.value_type)))
    return kind


def _not_text(batches: list[pa.RecordBatch]) -> dict[int, str]:
    """The rows with text that is not UTF-8; all else in the batches is right."""
    bad: dict[int, str] = {}
    first = 0
    for batch in batches:
        parts = [column.dictionary_decode() if pt.is_dictionary(column.type) else column for column in batch]
        plain = pa.RecordBatch.from_arrays(parts, names=batch.schema.names)

        def check(a: int, b: int, plain: pa.RecordBatch = plain) -> None:
            plain.take(pa.array(np.arange(a, b))).validate(full=True)

        _, failed = isolate(batch.num_rows, check)
        bad |= {first + row: f"text is not UTF-8: {one_line(error)}" for row, error in failed.items()}
        first += batch.num_rows
    return bad


def _plain(batch: pa.RecordBatch, limit: int) -> pa.RecordBatch:
    """A batch whose columns are of plain types."""
    wanted = pa.schema([plain_field(field) for field in batch.schema])
    if wanted.types == batch.schema.types:
        return pa.RecordBatch.from_arrays(batch.columns, schema=wanted)
    size = sum(_plain_bytes(column) for column in batch.columns)
    if size > limit:
        raise _too_large(size, limit)
    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        try:
            columns.append(_as_plain(column))
        except pa.ArrowException as error:
            raise DamagedStream(f"column {field.name!r}: {one_line(error)}") from error
    return pa.RecordBatch.from_arrays(columns, schema=wanted)


def _as_plain(values: pa.Array) -> pa.Array:
    if pt.is_run_end_encoded(values.type):
        values = pc.run_end_decode(values)
    if pt.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = plain_type(values.type)
    if kind == values.type:
        return values
    if _has_list_view(values.type):
        raise pa.ArrowNotImplementedError(f"{values.type} is not supported: write a list")
    return values.cast(kind)


def _has_list_view(kind: pa.DataType) -> bool:
    """Whether there are views of lists inside, which pyarrow 25 casts wrongly."""
    if pt.is_list_view(kind) or pt.is_large_list_view(kind):
        return True
    return any(_has_list_view(kind.field(i).type) for i in range(kind.num_fields))


def _plain_bytes(values: pa.Array) -> int:
    """About how many bytes values have once nothing in them is shared."""
    kind = values.type
    if pt.is_dictionary(kind):
        return _repeated(values.dictionary, values.indices)
    if pt.is_run_end_encoded(kind):
        return len(values) * _widest(values.values)
    if pt.is_string_view(kind) or pt.is_binary_view(kind):
        return int(_view_lengths(values).sum())
    if pt.is_struct(kind):
        return sum(_plain_bytes(values.field(i)) for i in range(kind.num_fields))
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_map(kind):
        return int(values.nbytes) + _plain_bytes(values.values)
    return int(values.nbytes)


def _repeated(values: pa.Array, indices: pa.Array) -> int:
    """About how many bytes the values of a dictionary have when they are written out."""
    if pt.is_string(values.type) or pt.is_large_string(values.type) or pt.is_binary(values.type):
        lengths = pc.binary_length(values).cast(pa.int64())
        return pc.sum(lengths.take(indices)).as_py() or 0
    return len(indices) * _widest(values)


def _widest(values: pa.Array) -> int:
    """A bound of the bytes of one value."""
    try:
        return int(values.type.bit_width // 8 + 1)
    except ValueError:
        return int(values.nbytes)


def _view_lengths(values: pa.Array) -> np.ndarray:
    """`(n,)` int64, the length of each view, which stands in its first four bytes."""
    if not len(values):
        return np.zeros(0, np.int64)
    data = np.frombuffer(values.buffers()[1], np.int32).reshape(-1, _VIEW_BYTES // 4)
    return data[values.offset : values.offset + len(values), 0].astype(np.int64)
