import pickle

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.internal import pickler
from hypothesis import given
from hypothesis import strategies as st

from pipelines.beam.transforms.coder import RecordBatchCoder, register

CODER = RecordBatchCoder()


def round_trip(batch):
    return CODER.decode(CODER.encode(batch))


def big(n=100_000):
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(4 * n, np.float32)), 4)
    return pa.record_batch({"text": [f"text {i}" for i in range(n)], "embedding": embedding})


@given(
    texts=st.lists(st.none() | st.text()),
    first=st.integers(0, 5),
    metadata=st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3), min_size=1),
)
def test_a_batch_comes_back_as_it_was(texts, first, metadata):
    n = len(texts)
    columns = {
        "text": pa.array(texts, pa.string()),
        "n": pa.array(range(n), pa.int64()),
        "deep": pa.array([{"a": [text]} for text in texts], pa.struct({"a": pa.list_(pa.string())})),
    }
    batch = pa.record_batch(columns).replace_schema_metadata(metadata).slice(min(first, n))
    found = round_trip(batch)
    assert found.equals(batch, check_metadata=True)
    found.validate(full=True)


def test_an_empty_batch_keeps_its_schema():
    batch = big(1).slice(0, 0)
    assert round_trip(batch).schema == batch.schema
    assert round_trip(batch).num_rows == 0


def test_dictionary_columns_stay_dictionaries():
    labels = pa.DictionaryArray.from_arrays(np.array([0, 1, 0, None], object), pa.array(["a@1", "a@2"]))
    batch = pa.record_batch({"model_version": labels.cast(pa.dictionary(pa.int32(), pa.string()))})
    for part in (batch, batch.slice(1, 2)):
        found = round_trip(part)
        assert found.equals(part)
        assert found.schema == part.schema


def test_a_slice_is_as_small_as_its_rows():
    batch = big()
    assert len(CODER.encode(batch.slice(50_000, 10))) < 4_000 < len(pickle.dumps(batch.slice(50_000, 10)))


def test_all_such_coders_are_alike_and_none_is_for_keys():
    assert RecordBatchCoder() == CODER
    assert hash(CODER) == hash(RecordBatchCoder())
    assert beam.coders.BytesCoder() != CODER
    assert not CODER.is_deterministic()
    assert CODER.to_type_hint() is pa.RecordBatch


def test_beam_takes_it_for_batches_and_for_pairs_with_batches():
    register()
    assert beam.coders.registry.get_coder(pa.RecordBatch) == CODER
    pair = beam.coders.registry.get_coder(beam.typehints.Tuple[int, pa.RecordBatch])
    number, batch = pair.decode(pair.encode((7, big().slice(5, 2))))
    assert (number, batch["text"].to_pylist()) == (7, ["text 5", "text 6"])


def test_beam_takes_tables_as_they_are():
    register()
    coder = beam.coders.registry.get_coder(pa.Table)
    table = pa.concat_tables([pa.Table.from_batches([big(3)]), pa.Table.from_batches([big(2)])]).slice(1)
    for one in (table, table.slice(0, 0)):
        found = coder.decode(coder.encode(one))
        assert found.equals(one)
        assert found.schema.equals(one.schema, check_metadata=True)
    assert coder.to_type_hint() is pa.Table
    assert coder != CODER


@pytest.mark.parametrize("by", [pickle, pickler])
@pytest.mark.parametrize(
    "item", [pa.field("element", pa.float32(), nullable=False), pa.field("x", pa.int8())]
)
def test_pickled_schemas_and_batches_keep_the_field_of_a_vector(by, item):
    kind = pa.list_(item, 4)
    batch = pa.record_batch({"embedding": pa.array([[1, 2, 3, 4]], kind)})
    for one in (batch, pa.Table.from_batches([batch])):
        again = by.loads(by.dumps(one))
        assert again == one
        assert again.schema.field("embedding").type.value_field == item
    assert round_trip(batch).schema.field("embedding").type.value_field == item


@pytest.mark.parametrize("damage", [slice(0, 40), slice(0, 0)])
def test_half_a_batch_is_an_error(damage):
    with pytest.raises(pa.ArrowInvalid):
        CODER.decode(CODER.encode(big(3))[damage])


def test_the_size_of_a_batch_is_known_without_encoding_it():
    whole = big()
    for batch in (whole, whole.slice(500, 1000)):
        size = CODER.get_impl().estimate_size(batch)
        assert size == batch.nbytes
        assert abs(size - len(CODER.encode(batch))) < 0.05 * size
