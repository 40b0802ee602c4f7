"""`RunInference` with our model handlers."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.ml.inference.base import ModelMetadata, RunInference
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue

from pipelines import BatchModelHandler, ModelVersion, TextModelHandler

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


def test_what_is_no_text_is_handed_on_with_its_batch(pipeline, model):
    bad = pa.record_batch({"text": pa.array(["paid", None])})
    with pipeline() as p:
        handler = BatchModelHandler(str(model))
        good, rest = p | beam.Create([bad, BATCH]) | RunInference(handler).with_exception_handling()
        assert_that(good | beam.Map(lambda made: made.num_rows), equal_to([50]))
        reasons = rest.failed_inferences | beam.Map(lambda one: one[1][1])
        assert_that(
            reasons, equal_to(["InputError('row 1 of the batch: the text is null: text')"]), label="bad"
        )


def test_an_element_that_is_no_string_is_named(pipeline, model):
    with pytest.raises(Exception, match=r"element 0 of the batch is int: give strings"), pipeline() as p:
        _ = p | beam.Create([7]) | RunInference(TextModelHandler(str(model)))


def test_sizes_are_known_without_pickling(model):
    assert BatchModelHandler(str(model)).get_num_bytes(BATCH) == BATCH.nbytes
    assert TextModelHandler(str(model)).get_num_bytes(["ab", "c"]) == 3
    assert TextModelHandler(str(model), max_batch_size=9).batch_elements_kwargs()["max_batch_size"] == 9
