"""Vectors in Avro: fastavro reads what is written column by column."""

import io

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder import Encoder
from pipelines.enrich.columns import VectorFormat, score_columns, score_fields
from pipelines.formats.avro.types import avro_schema
from pipelines.sinks.encoding.avro import encoded_records, encoded_vectors, score_batch, score_schema

LABEL = "tiny@sha256:ü"


def read(data, kind):
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "embedding", "type": kind}, {"name": "model_version", "type": "string"}],
    }
    stream = io.BytesIO(data)
    record = fastavro.schemaless_reader(stream, fastavro.parse_schema(schema), None)
    assert stream.tell() == len(data)
    assert record["model_version"] == LABEL
    return record["embedding"]


def vectors(dtype, n=5, dim=70):
    rng = np.random.default_rng(1)
    if dtype == "int8":
        return rng.integers(-128, 128, (n, dim)).astype(np.int8)
    return rng.normal(size=(n, dim)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("part", [slice(None), slice(1, 4), slice(2, 2)])
def test_lists_are_arrays(dtype, part):
    made = vectors(dtype)
    column = VectorFormat("list", dtype).column(made)[part]
    kind = {"type": "array", "items": "int" if dtype == "int8" else "float"}
    found = [read(one, kind) for one in encoded_vectors(column, LABEL)]
    assert np.array_equal(np.array(found, dtype).reshape(-1, 70), made[part])


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("part", [slice(None), slice(1, 4)])
def test_bytes_are_bytes(dtype, part):
    made = vectors(dtype)
    column = VectorFormat("binary", dtype).column(made)[part]
    found = [read(one, "bytes") for one in encoded_vectors(column, LABEL)]
    assert found == [row.tobytes() for row in made[part]]


@given(st.lists(st.lists(st.integers(-128, 127), min_size=3, max_size=3), min_size=1, max_size=4))
def test_small_numbers_of_any_size(rows):
    made = np.array(rows, np.int8)
    column = VectorFormat("list", "int8").column(made)
    found = [read(one, {"type": "array", "items": "int"}) for one in encoded_vectors(column, LABEL)]
    assert found == rows


def test_vectors_without_numbers():
    column = pa.array([[], []], pa.list_(pa.float32(), 0))
    assert [read(one, {"type": "array", "items": "float"}) for one in encoded_vectors(column, LABEL)] == [
        [],
        [],
    ]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_scores_are_read_as_the_heads_gave_them(n, headed):
    encoder = Encoder.load(headed(), threads=1)
    fields = score_fields(encoder.heads)
    texts = ["login failed", "disk full", "", "x", "y"][:n]
    columns = score_columns(encoder.heads, encoder.encode(texts), texts)
    batch = score_batch(list(zip([field.name for field in fields], columns, strict=True)))
    assert batch.schema == score_schema(fields)
    batch.validate(full=True)
    kind = fastavro.parse_schema(avro_schema(batch.schema, "scores"))
    encoded = encoded_records(batch.to_pylist(maps_as_pydicts="strict"), kind)
    found = [fastavro.schemaless_reader(io.BytesIO(one), kind, None) for one in encoded]
    for field, column in zip(fields, columns, strict=True):
        assert [record[field.name] for record in found] == column.to_pylist()


def test_without_heads_nothing_is_added():
    assert score_batch([]).num_columns == 0
    assert score_schema([]) == pa.schema([])
