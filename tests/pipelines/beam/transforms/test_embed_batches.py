"""`EmbedBatches` in pipelines as anybody writes them."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.parquetio import ReadFromParquetBatched, WriteToParquetBatched
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.error_handling import ErrorHandler

from encoder import Encoder
from encoder.errors import ConfigurationError, InputError, NotInStore, TemplateError
from encoder.store.store import ModelStore
from pipelines import EmbedBatches, ModelVersion
from pipelines.beam.transforms.metrics import BatchMetrics

TEXTS = ["login failed", "card used in tokyo", "", "order paid"]


def batch(texts, first=0):
    ids = pa.array(range(first, first + len(texts)))
    return pa.record_batch({"id": ids, "text": pa.array(texts, pa.string())})


@pytest.fixture
def pipeline():
    return lambda *options: beam.Pipeline(runner="FnApiRunner", argv=["--direct_num_workers=1", *options])


def matrix(found):
    return found["embedding"].flatten().to_numpy().reshape(found.num_rows, -1)


def check(found, source, model):
    assert found.schema.names == [*source.schema.names, "embedding", "model_version"]
    assert found.select(source.schema.names).equals(source)
    assert np.array_equal(matrix(found), Encoder.load(model).encode(source["text"]))
    assert set(found["model_version"].to_pylist()) == {ModelVersion.resolve(str(model)).label}


def write_parquet(tables, prefix, schema, **options):
    return tables | WriteToParquetBatched(str(prefix), schema, file_name_suffix=".parquet", **options)


@pytest.mark.parametrize(("vectors", "shards"), [("list", 0), ("list", 1), ("binary", 0)])
def test_vectors_are_written_by_beams_sink_with_their_schema(vectors, shards, pipeline, model, tmp_path):
    embed = EmbedBatches(str(model), vectors=vectors, keep=["id"], tables=True)
    source = batch(TEXTS)
    schema = embed.schema(source.schema)
    with pipeline() as p:
        tables = p | beam.Create([source]) | embed
        _ = write_parquet(tables, tmp_path / "new", schema, num_shards=shards)  # with shards, tables travel
    assert tables.element_type is pa.Table
    [path] = tmp_path.glob("new*")
    assert pq.read_schema(path).equals(schema, check_metadata=True)
    assert pq.read_table(path)["id"].to_pylist() == list(range(len(TEXTS)))
    if vectors == "list":
        assert schema.field("embedding").type.value_field == pa.field("element", pa.float32(), nullable=False)


def test_files_with_the_other_field_name_are_read_beside_new_ones(pipeline, model, encoder, tmp_path):
    old = pa.list_(pa.float32(), encoder.dim)  # "item", as it was after pickling
    vectors = pa.array(encoder.encode(TEXTS[:2]).tolist(), old)
    pq.write_table(pa.table({"id": [100, 101], "embedding": vectors}), tmp_path / "a.parquet")
    embed = EmbedBatches(str(model), keep=["id"], tables=True)
    source = batch(TEXTS)
    with pipeline() as p:
        _ = write_parquet(p | beam.Create([source]) | embed, tmp_path / "b", embed.schema(source.schema))
    for schema in (None, pq.read_schema(next(tmp_path.glob("b*")))):
        both = pq.read_table(tmp_path, schema=schema, columns=["id", "embedding"])
        assert sorted(both["id"].to_pylist()) == [*range(len(TEXTS)), 100, 101]


def test_the_schema_needs_a_model_that_is_known(pipeline, model):
    with pipeline() as p:
        version = p | beam.Create([ModelVersion.resolve(str(model))])
        with pytest.raises(ConfigurationError, match="is a side input"):
            EmbedBatches(beam.pvalue.AsSingleton(version)).schema(batch([]).schema)


def test_each_batch_comes_out_with_its_vectors(pipeline, model):
    sources = {0: batch(TEXTS), 10: batch(["disk full"], 10)}
    with pipeline() as p:
        found = p | beam.Create(list(sources.values())) | EmbedBatches(str(model))
        _ = found | beam.Map(lambda made: check(made, sources[made["id"][0].as_py()], model))
        assert_that(found | beam.combiners.Count.Globally(), equal_to([2]))
    assert found.element_type is pa.RecordBatch


def test_a_template_the_columns_to_keep_and_the_form_of_vectors(pipeline, model):
    def one(made):
        assert made.schema.names == ["id", "embedding", "model_version"]
        expected = Encoder.load(model).encode([f"{i}: {text}" for i, text in enumerate(TEXTS)])
        vectors = np.frombuffer(b"".join(made["embedding"].to_pylist()), np.float16)
        assert np.array_equal(vectors.reshape(len(TEXTS), -1), expected.astype(np.float16))

    with pipeline() as p:
        embed = EmbedBatches(str(model), "{id}: {text}", keep=["id"], vectors="binary", dtype="float16")
        _ = p | beam.Create([batch(TEXTS)]) | embed | beam.Map(one)


def test_tables_of_beams_parquet_reader_become_batches(pipeline, model, tmp_path):
    table = pa.table({"text": [f"login failed {i}" for i in range(10_000)]})
    pa.parquet.write_table(table, tmp_path / "in.parquet")
    with pipeline() as p:
        found = p | ReadFromParquetBatched(str(tmp_path / "in.parquet")) | EmbedBatches(str(model))
        sizes = found | beam.Map(lambda made: made.num_rows)
        assert_that(sizes, equal_to([8192, 10_000 - 8192]))


def test_the_model_may_be_a_side_input_of_its_version(pipeline, model):
    with pipeline() as p:
        version = p | "Version" >> beam.Create([ModelVersion.resolve(str(model))])
        found = p | beam.Create([batch(TEXTS)]) | EmbedBatches(beam.pvalue.AsSingleton(version))
        _ = found | beam.Map(lambda made: check(made, batch(TEXTS), model))


def test_latest_is_fixed_when_the_pipeline_is_built(pipeline, model, tiny_model, tmp_path):
    store = ModelStore.open(str(tmp_path / "store/tiny"))
    store.publish(model)
    embed = EmbedBatches(f"{store.uri}@latest")
    store.publish(tiny_model(tmp_path / "newer", seed=8))
    with pipeline() as p:
        found = p | beam.Create([batch(TEXTS)]) | embed
        assert_that(found | beam.FlatMap(lambda b: b["model_version"].to_pylist()), equal_to(["tiny@1"] * 4))


BAD = [None, "paid", None, "used"]


@pytest.mark.parametrize("tables", [False, True])
def test_bad_rows_leave_one_by_one_on_their_own_output(tables, pipeline, model):
    with pipeline() as p:
        embed = EmbedBatches(str(model), tables=tables).with_exception_handling()
        both = p | beam.Create([batch(BAD)]) | embed
        assert_that(both.good | beam.FlatMap(lambda b: b["id"].to_pylist()), equal_to([1, 3]))
        reason = "InputError('the text is null: text')"
        expected = [({"id": i, "text": None}, InputError, reason) for i in (0, 2)]
        bad = both.bad | "bad" >> beam.MapTuple(lambda row, error: (row, error[0], error[1]))
        assert_that(bad, equal_to(expected), label="bad rows")


def test_outputs_may_have_other_names(pipeline, model):
    embed = EmbedBatches(str(model)).with_exception_handling("vectors", "letters")
    with pipeline() as p:
        both = p | beam.Create([batch(BAD)]) | embed
        assert_that(both.letters | beam.Map(lambda bad: bad[0]["id"]), equal_to([0, 2]))
        assert_that(both.vectors | beam.Map(lambda b: b.num_rows), equal_to([2]), label="vectors")


@pytest.mark.slow
def test_beams_error_handler_takes_the_bad_rows(pipeline, model):
    with pipeline() as p:
        with ErrorHandler(beam.Map(lambda bad: bad[0]["id"])) as handler:
            good = p | beam.Create([batch(BAD)]) | EmbedBatches(str(model)).with_error_handler(handler)
            assert_that(good | beam.Map(lambda b: b.num_rows), equal_to([2]))
        assert_that(handler.output(), equal_to([0, 2]), label="handled")


def test_without_a_handler_the_first_bad_row_fails_the_pipeline(pipeline, model):
    embed = EmbedBatches(str(model)).with_error_handler(None)
    with pytest.raises(Exception, match="the text is null: text"), pipeline() as p:
        _ = p | beam.Create([batch(BAD)]) | embed


def test_a_batch_that_does_not_fit_is_bad_row_by_row(pipeline, model):
    taken = pa.record_batch({"text": ["paid", "used"], "embedding": [1, 2]})
    with pipeline() as p:
        both = p | beam.Create([taken, batch(["paid"])]) | EmbedBatches(str(model)).with_exception_handling()
        assert_that(both.bad | beam.Map(lambda bad: bad[1][0]), equal_to([ConfigurationError] * 2))
        assert_that(both.good | beam.Map(lambda b: b.num_rows), equal_to([1]), label="good")


def test_what_cannot_be_is_an_error_when_the_pipeline_is_built(model, tmp_path):
    with pytest.raises(TemplateError):
        EmbedBatches(str(model), "{text")
    with pytest.raises(NotInStore):
        EmbedBatches(f"{tmp_path}@7")


def test_metrics_tell_of_every_batch(pipeline, model):
    p = pipeline()
    _ = p | beam.Create([batch(BAD), batch(TEXTS)]) | EmbedBatches(str(model)).with_exception_handling()
    result = p.run()
    result.wait_until_finish()
    found = {
        one.key.metric.name: one.committed
        for kind in result.metrics().query().values()
        for one in kind
        if one.key.metric.namespace == "millstream"
    }
    assert set(found) == set(BatchMetrics.names)
    assert (found["records"], found["dead_letters"]) == (8, 2)
    assert found["bytes"] == batch(BAD).nbytes + batch(TEXTS).nbytes
    assert (found["batch_size"].count, found["batch_size"].mean) == (2, 4)
    assert found["encode_us"].count == 2
    assert found["encode_us"].min > 0
    assert set(found["model_version"]) == {ModelVersion.resolve(str(model)).label}
