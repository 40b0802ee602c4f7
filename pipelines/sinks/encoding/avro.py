"""Vectors and scores as the last fields of Avro records, encoded column by column.

Avro fields are concatenated, so fields are added to a record by adding their bytes at its end. An array of
floats is its length, its bytes in memory, and a zero.
Source: https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
"""

import io
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.formats.schema_registry import varint

__all__ = ["encoded_records", "encoded_vectors", "score_batch", "score_schema"]


def encoded_vectors(vectors: pa.Array, label: str) -> list[bytes]:
    """The fields `embedding` and `model_version` of each record.

    Args:
        vectors: `(n,)` fixed-size bytes, which become Avro's bytes, or lists of `dim` numbers: float32 and
            float16 become arrays of float, int8 arrays of int.
        label: the model version.
    """
    text = label.encode()
    end = varint(len(text)) + text
    n = len(vectors)
    if pa.types.is_fixed_size_binary(vectors.type):
        width = vectors.type.byte_width
        first = vectors.offset * width
        data = memoryview(vectors.buffers()[1])[first : first + n * width]
        return _framed(data, np.arange(n + 1) * width, varint(width), end)
    dim = vectors.type.list_size
    if not dim:
        return [b"\0" + end] * n
    numbers = vectors.flatten().to_numpy(zero_copy_only=False).reshape(n, dim)
    if numbers.dtype == np.int8:
        data, edges = _zigzag(numbers)
    else:
        data = memoryview(np.ascontiguousarray(numbers, "<f4").tobytes())
        edges = np.arange(n + 1) * dim * 4
    return _framed(data, edges, varint(dim), b"\0" + end)


def _framed(data: memoryview, edges: NDArray[np.int64], head: bytes, tail: bytes) -> list[bytes]:
    """`head`, a slice of the data between two `edges`, and `tail`, for each slice."""
    at = edges.tolist()
    return [b"".join((head, data[one:two], tail)) for one, two in pairwise(at)]


def _zigzag(numbers: NDArray[np.int8]) -> tuple[memoryview, NDArray[np.int64]]:
    """Encode int8 as zigzag varints of one or two bytes; gives the bytes and the boundaries of the rows."""
    zigzag = ((numbers << 1) ^ (numbers >> 7)).view(np.uint8)
    long = zigzag > 0x7F
    pairs = np.empty((*numbers.shape, 2), np.uint8)
    pairs[..., 0] = zigzag | np.where(long, 0x80, 0)
    pairs[..., 1] = 1  # the eighth bit
    there = np.ones(pairs.shape, np.bool_)
    there[..., 1] = long
    edges = np.concatenate([[0], np.cumsum(there.sum(axis=(1, 2)))])
    return memoryview(pairs[there].tobytes()), edges


def score_schema(fields: Sequence[pa.Field]) -> pa.Schema:
    """The columns of heads in Avro's types: labels as strings, scores by label as maps."""
    return pa.schema([pa.field(field.name, _score_type(field.type)) for field in fields])


def _score_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):  # labels may be any text, names of fields may not
        return pa.map_(pa.string(), pa.float32())
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def score_batch(scores: Sequence[tuple[str, pa.Array]]) -> pa.RecordBatch:
    """The columns of heads, `(n,)` each, in the types of `score_schema`."""
    schema = score_schema([pa.field(name, column.type) for name, column in scores])
    columns = [_as_map(one) if pa.types.is_struct(one.type) else one for _, one in scores]
    columns = [one.cast(kind) for one, kind in zip(columns, schema.types, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _as_map(column: pa.StructArray) -> pa.MapArray:
    """`(n,)` structs of floats as maps by field name."""
    names = [field.name for field in column.type]
    items = np.stack([part.to_numpy() for part in column.flatten()], axis=1).ravel()
    keys = pa.array(names * len(column), pa.string())
    offsets = np.arange(len(column) + 1, dtype=np.int32) * len(names)
    return pa.MapArray.from_arrays(offsets, keys, pa.array(items, pa.float32()))


def encoded_records(records: Sequence[dict[str, Any]], schema: Any) -> list[bytes]:
    """Encode records as Avro, without headers; `schema` is one that fastavro has parsed."""
    made = []
    for record in records:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, schema, record)
        made.append(stream.getvalue())
    return made
