"""`MLTransform` and `apache_beam.ml.rag` with our embeddings."""

import apache_beam as beam
import pytest
from apache_beam.ml.rag.embeddings.base import create_text_adapter
from apache_beam.ml.rag.types import EmbeddableItem
from apache_beam.ml.transforms.base import MLTransform
from apache_beam.testing.util import assert_that, equal_to

from encoder.store.store import ModelStore
from pipelines import MillstreamEmbeddings


@pytest.fixture
def pipeline():
    return lambda: beam.Pipeline(runner="FnApiRunner", argv=["--direct_num_workers=1"])


@pytest.fixture
def store(model, tmp_path):
    store = ModelStore.open(str(tmp_path / "store/tiny"))
    store.publish(model)
    return store


@pytest.mark.filterwarnings("ignore:keys will default to True:DeprecationWarning")  # Beam's use of jsonpickle
def test_columns_become_vectors_and_the_artifacts_remember_the_version(
    pipeline, store, tiny_model, encoder, tmp_path
):
    records = [{"id": i, "text": f"paid {i}"} for i in range(5)]
    expected = [{"id": one["id"], "text": encoder.encode(one["text"]).tolist()} for one in records]
    artifacts = str(tmp_path / "artifacts")
    embeddings = MillstreamEmbeddings(f"{store.uri}@latest", columns=["text"])
    with pipeline() as p:
        transform = MLTransform(write_artifact_location=artifacts).with_transform(embeddings)
        assert_that(p | beam.Create(records) | transform, equal_to(expected))
    store.publish(tiny_model(tmp_path / "newer", seed=8))
    with pipeline() as p:
        again = MLTransform(read_artifact_location=artifacts)
        assert_that(p | beam.Create(records) | again, equal_to(expected))


def test_items_of_rag_get_their_embedding(pipeline, store, encoder):
    embeddings = MillstreamEmbeddings(f"{store.uri}@1", type_adapter=create_text_adapter())
    items = [EmbeddableItem.from_text(f"order paid {i}", id=str(i)) for i in range(5)]
    with pipeline() as p:
        found = p | beam.Create(items) | embeddings.get_ptransform_for_processing()
        vectors = found | beam.Map(lambda item: (item.id, item.dense_embedding))
        expected = [(item.id, encoder.encode(item.content.text).tolist()) for item in items]
        assert_that(vectors, equal_to(expected))


def test_columns_or_an_adapter_must_be_given(store):
    with pytest.raises(ValueError, match="columns or type_adapter"):
        MillstreamEmbeddings(f"{store.uri}@1")
