"""Heads' columns: their names, their types, and what stands in them."""

import numpy as np
import pyarrow as pa
import pytest

from encoder import Encoder
from encoder.errors import ConfigurationError
from pipelines.enrich.columns import parse_heads, score_columns, score_fields

TEXTS = ["login failed", "card used in tokyo", "disk full", "order paid", ""]


@pytest.fixture(scope="module")
def encoder(headed):
    return Encoder.load(headed(), threads=1)


def test_each_kind_has_its_columns(encoder, score_names):
    fields = score_fields(encoder.heads)
    assert [field.name for field in fields] == score_names
    text = pa.dictionary(pa.int32(), pa.string())
    scores = pa.struct([pa.field(label, pa.float32(), nullable=False) for label in ("a", "b.c", "ü")])
    labels = pa.list_(pa.field("element", pa.string(), nullable=False))
    kinds = [text, pa.float32(), text, pa.float32(), pa.float32(), pa.bool_(), labels, scores]
    assert [field.type for field in fields] == kinds
    assert [field.name for field in fields if field.nullable] == ["incident_nearest"]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_columns_say_what_the_heads_say(n, encoder):
    vectors = encoder.encode(TEXTS)[:n]
    columns = score_columns(encoder.heads, vectors)
    batch = pa.RecordBatch.from_arrays(columns, schema=pa.schema(score_fields(encoder.heads)))
    batch.validate(full=True)
    fraud, incident, odd, tags = encoder.heads(vectors)
    assert batch["fraud_label"].to_pylist() == [("ham", "spam")[k] for k in fraud.label]
    assert np.array_equal(batch["fraud_score"].to_numpy(), fraud.score)
    assert batch["incident_nearest"].to_pylist() == [
        None if k < 0 else ("fan", "disk")[k] for k in incident.nearest
    ]
    assert np.array_equal(batch["incident_similarity"].to_numpy(), incident.similarity)
    assert np.array_equal(batch["odd_distance"].to_numpy(), odd.distance)
    assert batch["odd_novel"].to_pylist() == odd.novel.tolist()
    for row, (labels, scores) in enumerate(
        zip(batch["tags_labels"].to_pylist(), batch["tags_scores"].to_pylist(), strict=True)
    ):
        assert list(scores) == ["a", "b.c", "ü"]
        assert list(scores.values()) == tags.scores[:, row].tolist()
        assert labels == [label for label, score in scores.items() if score >= 0.5]


def test_some_rows_are_near_a_name_and_some_are_not(encoder):
    nearest = encoder.heads(encoder.encode(TEXTS))[1].nearest
    assert -1 in nearest
    assert nearest.max() >= 0


def test_heads_are_named_on_the_command_line():
    assert parse_heads(None) is None
    assert parse_heads("none") == ()
    assert parse_heads(" odd, fraud,odd ") == ("fraud", "odd")
    with pytest.raises(ConfigurationError, match="--heads names nothing"):
        parse_heads(" , ")
