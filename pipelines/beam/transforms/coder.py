"""Beam's coders for Arrow record batches and tables: Arrow IPC.

Pickle would copy the whole buffers of slices.
"""

import copyreg
from typing import Any

import apache_beam as beam
import pyarrow as pa

__all__ = ["RecordBatchCoder", "register"]


def _reduce(kind: pa.FixedSizeListType) -> tuple[Any, ...]:
    return pa.list_, (kind.value_field, kind.list_size)


# Beam pickles schemas, such as that of `WriteToParquetBatched`, and elements without a type. pyarrow 25
# pickles a fixed-size list without the field of its elements: "element", which is never null, would come back
# as "item", which may be, and the schema would no longer be that of our batches.
copyreg.pickle(pa.FixedSizeListType, _reduce)


class RecordBatchCoder(beam.coders.Coder):
    """Encodes a `pa.RecordBatch` as an Arrow IPC stream; not deterministic, so unfit for keys."""

    def encode(self, value: pa.RecordBatch | pa.Table) -> bytes:
        """Encode a batch with its schema."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write(value)
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        """Decode a batch, whose buffers are views of the bytes."""
        with pa.ipc.open_stream(encoded) as reader:
            return reader.read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        """The size of the columns in bytes; Beam's default would encode the batch to know."""
        return int(value.nbytes)

    def is_deterministic(self) -> bool:
        """False: there are several ways to write dictionaries and metadata."""
        return False

    def to_type_hint(self) -> Any:
        """`pa.RecordBatch`."""
        return pa.RecordBatch

    def __eq__(self, other: object) -> bool:
        """All coders of this class are equal."""
        return type(self) is type(other)

    def __hash__(self) -> int:
        """Equal for all coders of this class."""
        return hash(type(self))


class _TableCoder(RecordBatchCoder):
    """The same for a `pa.Table`."""

    def decode(self, encoded: bytes) -> pa.Table:
        with pa.ipc.open_stream(encoded) as reader:
            return reader.read_all()

    def to_type_hint(self) -> Any:
        return pa.Table


def register() -> None:
    """Make them the coders of every `PCollection[pa.RecordBatch]` and `PCollection[pa.Table]`."""
    beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)
    beam.coders.registry.register_coder(pa.Table, _TableCoder)
