"""`ArrowEmbedder` on tables and record batches."""

import pickle

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encoder.errors import ConfigurationError, InputError, TemplateError
from pipelines import ArrowEmbedder, ModelVersion
from pipelines.enrich.enrichment import Enrichment

TEXTS = ["login failed", "card used in tokyo", "", "order paid"]


@pytest.fixture
def table():
    chunks = [pa.array(TEXTS[:1]), pa.array([], pa.string()), pa.array(TEXTS[1:])]
    return pa.table({"id": range(len(TEXTS)), "text": pa.chunked_array(chunks)}).replace_schema_metadata(
        {"origin": "a test"}
    )


def test_a_table_keeps_its_rows_and_gets_vectors_and_the_version(table, model, encoder, matrix):
    embedder = ArrowEmbedder(str(model))
    found = embedder(table)
    assert found.schema.equals(embedder.schema(table.schema), check_metadata=True)
    assert found.select(table.column_names).equals(table, check_metadata=True)
    assert np.array_equal(matrix(found), encoder.encode(TEXTS))
    assert set(found["model_version"].to_pylist()) == {ModelVersion.resolve(str(model)).label}


def test_a_record_batch_stays_one(table, model):
    batch = table.combine_chunks().to_batches()[0]
    found = ArrowEmbedder(str(model))(batch)
    assert isinstance(found, pa.RecordBatch)
    assert pa.Table.from_batches([found]).equals(ArrowEmbedder(str(model))(table))


def test_the_version_travels_and_not_the_weights(table, headed):
    embedder = ArrowEmbedder(str(headed()), text="{id}: {text}", keep=["id"], vectors="binary", dtype="int8")
    sent = pickle.dumps(embedder)
    assert len(sent) < 8_000
    assert pickle.loads(sent)(table).equals(embedder(table))


def test_a_row_without_a_text_has_nulls_and_the_others_what_enrichment_gives(headed):
    ref = str(headed())
    batch = pa.record_batch({"text": pa.array([None, "login failed", None, "card used", None])})
    embedder = ArrowEmbedder(ref)
    found = embedder(batch)
    version = ModelVersion.resolve(ref)
    alone = Enrichment.parse("text")(batch, version.load(), version.label)
    assert len(embedder.fields) > 10
    for field in embedder.fields:
        given = alone.batch[field.name].to_pylist()
        assert found[field.name].to_pylist() == [None, given[0], None, given[1], None], field.name


def test_null_vectors_come_back_from_a_file(model, tmp_path):
    table, file = pa.table({"text": ["paid", None, "disk full"]}), tmp_path / "a.parquet"
    found = ArrowEmbedder(str(model), vectors="binary")(table)
    pq.write_table(found, file)
    assert pq.read_table(file)["embedding"].to_pylist() == found["embedding"].to_pylist()
    lists = ArrowEmbedder(str(model))(table)
    pq.write_table(lists, file)
    written = duckdb.sql(f"SELECT embedding FROM '{file}'").fetchall()
    assert [row[0] and list(row[0]) for row in written] == lists["embedding"].to_pylist()
    with pytest.raises(pa.ArrowInvalid, match="Expected all lists to be of size"):
        pq.read_table(file)  # once pyarrow reads it, the docs need not warn


@pytest.mark.parametrize("rows", [0, 20_000])
def test_threads_give_the_same(rows, model):
    texts = pa.chunked_array([pa.array([f"order {i}" for i in range(rows)], pa.string())])
    table = pa.table({"text": texts})
    one, three = (ArrowEmbedder(str(model), threads=n)(table) for n in (1, 3))
    assert one.num_rows == rows
    assert one.equals(three)


def test_a_text_that_is_no_utf8_is_named_by_its_row(model):
    bad = pa.array([b"paid"] * 9_000 + [b"caf\xe9"]).view(pa.string())
    with pytest.raises(InputError, match=r"row 9000: the text is .*: mend it, or make it null"):
        ArrowEmbedder(str(model))(pa.table({"text": bad}))


def test_columns_that_do_not_fit_are_named(model):
    table = pa.table({"id": [1], "embedding": ["x"], "place": [{"city": "Bergen"}]})
    with pytest.raises(
        TemplateError, match=r"no column 'message': use one of id, embedding, place, place.city"
    ):
        ArrowEmbedder(str(model), text="{place.city}: {message}")(table)
    with pytest.raises(ConfigurationError, match=r"a column 'embedding', and Millstream adds one.*`keep`"):
        ArrowEmbedder(str(model), text="place.city")(table)
    with pytest.raises(ConfigurationError, match=r"`keep` names 'town', which is no column: there are id, "):
        ArrowEmbedder(str(model), text="place.city", keep=["town"])(table)
    found = ArrowEmbedder(str(model), text="place.city", keep=["id"])(table)
    assert found.column_names == ["id", "embedding", "model_version"]


def test_what_is_no_table_is_refused(model):
    with pytest.raises(InputError, match="cannot embed dict: give a pyarrow"):
        ArrowEmbedder(str(model))({"text": ["paid"]})


def test_what_the_model_lacks_shows_before_any_row_is_read(model):
    with pytest.raises(ConfigurationError, match="no head 'fraud': it has none"):
        ArrowEmbedder(str(model), heads=["fraud"])
    with pytest.raises(ConfigurationError, match="threads is 0"):
        ArrowEmbedder(str(model), threads=0)
