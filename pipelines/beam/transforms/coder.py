"""Beam's coder for Arrow record batches: Arrow IPC, where pickle would copy the whole buffers of slices."""

from typing import Any

import apache_beam as beam
import pyarrow as pa

__all__ = ["RecordBatchCoder", "register"]


class RecordBatchCoder(beam.coders.Coder):
    """Encodes a `pa.RecordBatch` as one Arrow IPC stream; not deterministic, so not for keys."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        """The batch and its schema as bytes."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_batch(value)
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        """The batch of these bytes; its buffers are views of them."""
        with pa.ipc.open_stream(encoded) as reader:
            return reader.read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        """The bytes of the columns; Beam asks for many elements' sizes, and by itself would encode them."""
        return int(value.nbytes)

    def is_deterministic(self) -> bool:
        """Dictionaries and metadata may be written in more than one way."""
        return False

    def to_type_hint(self) -> Any:
        """The type that it codes."""
        return pa.RecordBatch

    def __eq__(self, other: object) -> bool:
        """All such coders are alike."""
        return type(self) is type(other)

    def __hash__(self) -> int:
        """All such coders are alike."""
        return hash(type(self))


def register() -> None:
    """Make it the coder of every `PCollection[pa.RecordBatch]`."""
    beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)
