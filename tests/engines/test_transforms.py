"""The transforms on other engines: pickled, shipped to workers, and told of by metrics."""

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.ml.inference.base import RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from encoder import Encoder
from pipelines import BatchModelHandler, Embed, EmbedBatches, ModelVersion
from pipelines.beam.transforms.coder import register

TEXTS = ["login failed", "card used in tokyo", None, "order paid"]


@pytest.fixture(params=["prism_options", "flink_options"])
def options(request):
    return PipelineOptions(request.getfixturevalue(request.param))


@pytest.mark.server
def test_results_and_metrics_are_those_of_this_process(options, model):
    register()
    ref, label = str(model), ModelVersion.resolve(str(model)).label
    vectors = Encoder.load(model).encode([text for text in TEXTS if text])
    expected = [
        (text, vector.tolist(), label) for text, vector in zip(filter(None, TEXTS), vectors, strict=True)
    ]
    columns = ("text", "embedding", "model_version")

    p = beam.Pipeline(options=options)
    batches = p | beam.Create([pa.record_batch({"text": [text]}) for text in TEXTS if text])
    batches = batches | beam.Reshuffle().with_output_types(pa.RecordBatch)
    rows = beam.FlatMap(lambda batch: [tuple(one[name] for name in columns) for one in batch.to_pylist()])
    assert_that(batches | EmbedBatches(ref) | "rows" >> rows, equal_to(expected), label="EmbedBatches")
    inferred = batches | RunInference(BatchModelHandler(ref)) | "inferred rows" >> rows
    assert_that(inferred, equal_to(expected), label="RunInference")
    records = p | "Records" >> beam.Create([{"text": text} for text in TEXTS])
    embedded = records | Embed(ref).with_exception_handling()
    single = embedded.good | beam.Map(lambda one: tuple(one[name] for name in columns))
    assert_that(single, equal_to(expected), label="Embed")
    assert_that(embedded.bad | beam.Map(lambda bad: bad[0]), equal_to([{"text": None}]), label="bad")
    result = p.run()
    result.wait_until_finish()

    found = result.metrics().query(MetricsFilter().with_namespace("millstream"))
    counters = {}
    for one in found["counters"]:
        name = one.key.metric.name
        counters[name] = counters.get(name, 0) + one.committed
    assert counters["dead_letters"] == 1
    assert counters["records"] == 3 + 4
