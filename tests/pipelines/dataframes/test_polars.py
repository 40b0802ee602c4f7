"""`embed` in queries of Polars, by all of its engines."""

import numpy as np
import polars as pl
import pytest

from encoder.errors import TemplateError
from pipelines.dataframes.arrow import ArrowEmbedder
from pipelines.dataframes.polars import embed

TEXTS = ["login failed", None, "card used in tokyo", "", "order paid"]
ENGINES = {
    "eager": lambda frame, *columns: frame.with_columns(*columns),
    "lazy": lambda frame, *columns: frame.lazy().with_columns(*columns).collect(),
    "streaming": lambda frame, *columns: frame.lazy().with_columns(*columns).collect(engine="streaming"),
}


@pytest.fixture
def frame():
    return pl.DataFrame({"id": range(5), "message": TEXTS, "place": [{"city": c} for c in "abcde"]})


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_gives_the_same_columns(engine, frame, model, encoder):
    found = ENGINES[engine](frame, embed("message", str(model)))
    assert found.columns == [*frame.columns, "embedding", "model_version"]
    assert found.schema["embedding"] == pl.Array(pl.Float32, encoder.dim)
    assert found["embedding"].is_null().to_list() == [text is None for text in TEXTS]
    vectors = found["embedding"].drop_nulls().to_numpy()
    assert np.array_equal(vectors, encoder.encode([text for text in TEXTS if text is not None]))


def test_a_template_reads_columns_and_fields_of_structs(frame, model, encoder):
    found = frame.with_columns(embed("{place.city} {id}", str(model)))
    texts = [f"{city} {i}" for i, city in enumerate("abcde")]
    assert np.array_equal(found["embedding"].to_numpy(), encoder.encode(texts))


@pytest.mark.parametrize(("vectors", "dtype"), [("binary", "float16"), ("list", "int8")])
def test_heads_and_other_layouts_are_those_of_the_embedder(vectors, dtype, frame, headed):
    ref = str(headed())
    embedder = ArrowEmbedder(ref, "message", vectors=vectors, dtype=dtype)
    found = frame.with_columns(embed("message", ref, vectors=vectors, dtype=dtype))
    expected = pl.from_arrow(embedder(frame.to_arrow()))
    assert found.columns == expected.columns
    for name in found.columns:
        assert found[name].to_list() == expected[name].to_list(), name
    only = frame.select(embed("message", ref, heads=["fraud"]))
    assert only.columns == ["embedding", "model_version", "fraud_label", "fraud_score"]


@pytest.mark.parametrize("engine", ENGINES)
def test_each_text_is_embedded_once_however_many_columns_are_used(engine, headed, monkeypatch):
    rows, call = [], ArrowEmbedder.__call__
    monkeypatch.setattr(
        ArrowEmbedder, "__call__", lambda self, table: rows.append(len(table)) or call(self, table)
    )
    frame = pl.DataFrame({"message": [f"order {i}" for i in range(3_000)]})
    ENGINES[engine](frame, embed("message", str(headed())))
    assert sum(rows) == len(frame)


def test_a_column_that_is_missing_is_polars_error(frame, model):
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="massage"):
        frame.with_columns(embed("massage", str(model)))


def test_a_field_that_is_missing_is_ours(frame, model):
    with pytest.raises(
        (TemplateError, pl.exceptions.ComputeError),
        match=r"no column 'place.town': use one of place, place.city",
    ):
        frame.with_columns(embed("place.town", str(model)))
