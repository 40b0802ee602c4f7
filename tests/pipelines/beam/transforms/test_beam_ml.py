"""`RunInference`, `MLTransform` and `apache_beam.ml.rag` with our handlers and embeddings."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.ml.inference.base import KeyedModelHandler, ModelMetadata, RunInference
from apache_beam.ml.rag.embeddings.base import create_text_adapter
from apache_beam.ml.rag.types import EmbeddableItem
from apache_beam.ml.transforms.base import MLTransform
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue

from encoder.errors import InputError
from encoder.store.store import ModelStore
from pipelines import BatchModelHandler, MillstreamEmbeddings, ModelVersion, TextModelHandler

TEXTS = [f"card used at {i}" for i in range(50)]
BATCH = pa.record_batch({"id": pa.array(range(50)), "text": TEXTS})


@pytest.fixture
def pipeline():
    return lambda: beam.Pipeline(runner="FnApiRunner", argv=["--direct_num_workers=1"])


@pytest.fixture
def label(model):
    return ModelVersion.resolve(str(model)).label


def test_strings_give_predictions(pipeline, model, encoder, label):
    vectors = dict(zip(TEXTS, encoder.encode(TEXTS), strict=True))

    def same(found):
        assert sorted(one.example for one in found) == sorted(TEXTS)
        assert {one.model_id for one in found} == {label}
        for one in found:
            assert one.inference.dtype == np.float32
            assert np.array_equal(one.inference, vectors[one.example])

    with pipeline() as p:
        assert_that(p | beam.Create(TEXTS) | RunInference(TextModelHandler(str(model))), same)


def test_batches_give_batches(pipeline, model, encoder, label):
    def same(found):
        [made] = found
        assert made.schema.names == ["id", "text", "embedding", "model_version"]
        assert np.array_equal(made["embedding"].flatten().to_numpy().reshape(50, -1), encoder.encode(TEXTS))
        assert set(made["model_version"].to_pylist()) == {label}

    with pipeline() as p:
        assert_that(p | beam.Create([BATCH]) | RunInference(BatchModelHandler(str(model))), same)


def test_a_side_input_of_refs_changes_the_model(pipeline, model, tiny_model, tmp_path):
    refs = [str(model), str(tiny_model(tmp_path / "other", seed=8))]

    def in_windows(p, name, values):
        stamped = p | name >> beam.Create(values) | f"{name} at" >> beam.MapTuple(TimestampedValue)
        return stamped | f"{name} in" >> beam.WindowInto(FixedWindows(10))

    with pipeline() as p:
        metadata = in_windows(p, "models", [(ModelMetadata(ref, "m"), 10 * i) for i, ref in enumerate(refs)])
        batches = in_windows(p, "batches", [(BATCH, 3), (BATCH, 13)])
        found = batches | RunInference(BatchModelHandler(str(model)), model_metadata_pcoll=metadata)
        labels = found | beam.Map(
            lambda made, t=beam.DoFn.TimestampParam: (float(t), made["model_version"][0].as_py())
        )
        expected = [(float(10 * i + 3), ModelVersion.resolve(ref).label) for i, ref in enumerate(refs)]
        assert_that(labels | beam.WindowInto(GlobalWindows()), equal_to(expected))


def is_zeros(vector):
    return not np.any(vector)


def test_a_null_string_has_a_vector_of_zeros(pipeline, model, label):
    def same(found):
        assert {(one.example, is_zeros(one.inference), one.model_id) for one in found} == {
            ("paid", False, label),
            (None, True, label),
            ("", True, label),
        }

    with pipeline() as p:
        texts = p | beam.Create(["paid", None, ""])
        assert_that(texts | RunInference(TextModelHandler(str(model))), same)
        keyed = KeyedModelHandler(TextModelHandler(str(model)))
        found = p | "keys" >> beam.Create([(1, None)]) | "keyed" >> RunInference(keyed)
        zeros = found | beam.MapTuple(lambda key, one: (key, is_zeros(one.inference)))
        assert_that(zeros, equal_to([(1, True)]), label="with keys")


@pytest.mark.parametrize("keep", [None, ["id"]])
def test_a_null_text_of_a_batch_has_a_vector_of_zeros_beside_its_columns(keep, pipeline, model):
    batch = pa.record_batch({"id": [1, 2, 3], "text": pa.array(["paid", None, "due"])})

    def same(found):
        [made] = found
        names = keep or ["id", "text"]
        assert made.schema.names == [*names, "embedding", "model_version"]
        assert made.select(names).equals(batch.select(names))
        assert [is_zeros(vector) for vector in made["embedding"].to_pylist()] == [False, True, False]

    with pipeline() as p:
        assert_that(p | beam.Create([batch]) | RunInference(BatchModelHandler(str(model), keep=keep)), same)


def test_a_batch_with_a_text_of_other_bytes_is_handed_on(pipeline, model):
    latin = pa.array([b"paid", None, b"caf\xe9"]).view(pa.string())
    bad = pa.record_batch({"text": latin})
    with pipeline() as p:
        handler = BatchModelHandler(str(model))
        good, rest = p | beam.Create([bad, BATCH]) | RunInference(handler).with_exception_handling()
        assert_that(good | beam.Map(lambda made: made.num_rows), equal_to([50]))
        reasons = rest.failed_inferences | beam.Map(lambda one: one[1][1].partition(" is ")[0])
        assert_that(reasons, equal_to(["InputError('row 2 of the batch: the text"]), label="bad")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (7, "is int: give strings or None"),
        (float("nan"), "is float: give strings or None"),
        (b"paid", "is bytes: give strings or None"),
        (["paid"], "is list: give strings or None"),
        ("\ud800", "is not valid Unicode: it holds half of a surrogate pair"),
    ],
)
def test_what_is_no_text_is_a_failure_that_names_it(value, says, model):
    handler = TextModelHandler(str(model))
    loaded = handler.load_model()
    with pytest.raises(InputError, match=f"element 1 of the batch {says}"):
        handler.run_inference(["paid", value], loaded)
    assert handler.get_num_bytes(["paid", value]) >= 4


STRANGE = [7, float("nan"), b"paid", ["due"]]  # Beam's coders carry no half of a surrogate pair


def test_each_element_that_is_no_text_fails_alone(pipeline, model):
    texts = ["paid", *STRANGE[:2], None, *STRANGE[2:], "due"]
    with pipeline() as p:
        handler = TextModelHandler(str(model))
        good, rest = (
            p
            | beam.Create([0])
            | beam.FlatMap(lambda _: texts)
            | RunInference(handler).with_exception_handling()
        )
        assert_that(good | beam.Map(lambda one: one.example), equal_to(["paid", None, "due"]))
        failed = rest.failed_inferences | beam.Map(lambda one: (repr(one[0]), one[1][1]))
        expected = [
            ("[7]", "InputError('element 0 of the batch is int: give strings or None')"),
            ("[nan]", "InputError('element 0 of the batch is float: give strings or None')"),
            ("[b'paid']", "InputError('element 0 of the batch is bytes: give strings or None')"),
            ("[['due']]", "InputError('element 0 of the batch is list: give strings or None')"),
        ]
        assert_that(failed, equal_to(expected), label="bad")


def test_keyed_elements_that_are_no_texts_fail_alone(pipeline, model):
    pairs = [("a", "paid"), ("b", 7), ("c", b"due"), ("d", None)]
    with pipeline() as p:
        handler = KeyedModelHandler(TextModelHandler(str(model)))
        good, rest = (
            p
            | beam.Create([0])
            | beam.FlatMap(lambda _: pairs)
            | RunInference(handler).with_exception_handling()
        )
        assert_that(good | beam.Map(lambda one: one[0]), equal_to(["a", "d"]))
        failed = rest.failed_inferences | beam.Map(lambda one: [key for key, _ in one[0]])
        assert_that(failed, equal_to([["b"], ["c"]]), label="bad")


def test_without_failures_the_first_of_them_stops_the_pipeline(pipeline, model):
    with pytest.raises(Exception, match="element 0 of the batch is int"), pipeline() as p:
        _ = p | beam.Create(["paid", 7]) | RunInference(TextModelHandler(str(model)))


def test_sizes_are_known_without_pickling(model):
    assert BatchModelHandler(str(model)).get_num_bytes(BATCH) == BATCH.nbytes
    assert TextModelHandler(str(model)).get_num_bytes(["ab", "c"]) == 3
    assert TextModelHandler(str(model), max_batch_size=9).batch_elements_kwargs()["max_batch_size"] == 9


@pytest.fixture
def store(model, tmp_path):
    store = ModelStore.open(str(tmp_path / "store/tiny"))
    store.publish(model)
    return store


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:keys will default to True:DeprecationWarning")  # Beam's use of jsonpickle
def test_columns_become_vectors_and_the_artifacts_remember_the_version(
    pipeline, store, tiny_model, encoder, tmp_path
):
    records = [{"id": i, "text": f"paid {i}" if i else None} for i in range(5)]
    expected = [{"id": one["id"], "text": encoder.encode([one["text"] or ""])[0].tolist()} for one in records]
    artifacts = str(tmp_path / "artifacts")
    embeddings = MillstreamEmbeddings(f"{store.uri}@latest", columns=["text"])
    with pipeline() as p:
        transform = MLTransform(write_artifact_location=artifacts).with_transform(embeddings)
        assert_that(p | beam.Create(records) | transform, equal_to(expected))
    store.publish(tiny_model(tmp_path / "newer", seed=8))
    [artifact] = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert '"py/object": "pipelines.MillstreamEmbeddings.Handler"' in artifact.read_text()
    with pipeline() as p:
        again = MLTransform(read_artifact_location=artifacts)
        assert_that(p | beam.Create(records) | again, equal_to(expected))


@pytest.mark.filterwarnings("ignore:keys will default to True:DeprecationWarning")  # Beam's use of jsonpickle
def test_elements_of_mltransform_without_a_text_fail_alone(pipeline, model, tmp_path):
    strange = [*({"id": i, "text": value} for i, value in enumerate(STRANGE)), {"id": 9}, "no fields"]
    records = [{"id": 10, "text": "paid"}, *strange, {"id": 11, "text": None}, {"text": "due", "more": True}]
    embeddings = MillstreamEmbeddings(str(model), columns=["text"])
    transform = MLTransform(write_artifact_location=str(tmp_path)).with_transform(embeddings)

    def same(found):
        assert sorted((one.get("id", 12), is_zeros(one["text"])) for one in found) == [
            (10, False),
            (11, True),
            (12, False),
        ]

    with pipeline() as p:
        elements = p | beam.Create([0]) | beam.FlatMap(lambda _: records)
        good, bad = elements | transform.with_exception_handling()
        assert_that(good, same)
        expected = [repr([one]) for one in strange]
        assert_that(bad | beam.Map(lambda row: repr(row.element)), equal_to(expected), label="bad")


@pytest.mark.slow
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
