"""`ToItems` behind `EmbedBatches`."""

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.ml.rag.types import EmbeddableItem
from apache_beam.testing.util import assert_that, equal_to

from encoder.errors import ConfigurationError, InputError
from pipelines import EmbedBatches, ToItems


def batch():
    columns = {
        "topic": ["payments"] * 2,
        "offset": [7, 8],
        "reason": ["paid", "disk full"],
        "amount": [1.5, None],
    }
    return pa.record_batch(columns)


def test_rows_become_items_with_their_ids_texts_and_vectors(model, encoder):
    vectors = encoder.encode(["paid", "disk full"]).tolist()

    def plain(item):
        assert isinstance(item, EmbeddableItem)
        assert item.metadata.pop("model_version").startswith("tiny@sha256:")
        return item.id, item.content_string, item.dense_embedding, item.metadata

    with beam.Pipeline(runner="FnApiRunner", argv=["--direct_num_workers=1"]) as p:
        items = p | beam.Create([batch()]) | EmbedBatches(str(model), text="reason")
        items |= ToItems("{topic}/{offset}", "reason", metadata=["amount"])
        expected = [
            ("payments/7", "paid", vectors[0], {"amount": 1.5}),
            ("payments/8", "disk full", vectors[1], {"amount": None}),
        ]
        assert_that(items | beam.Map(plain), equal_to(expected))


def test_batches_that_do_not_fit_are_refused():
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([0.5, 1.0, 0.0, 0.0], pa.float32()), 2)
    good = batch().append_column("embedding", vectors)
    [first, _] = ToItems("offset", "reason").items(good)
    assert (first.id, first.metadata) == (
        "7",
        {"topic": "payments", "offset": 7, "reason": "paid", "amount": 1.5},
    )
    with pytest.raises(InputError, match="row 1 of the batch has no id: amount is null"):
        list(ToItems("amount", "reason").items(good))
    with pytest.raises(
        ConfigurationError, match="`metadata` names 'city', which is no column: there are topic"
    ):
        list(ToItems("offset", "reason", metadata=["city"]).items(good))
    with pytest.raises(ConfigurationError, match="no column 'embedding': give batches of EmbedBatches"):
        list(ToItems("offset", "reason").items(batch()))
