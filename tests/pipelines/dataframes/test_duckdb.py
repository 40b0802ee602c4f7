"""Functions in DuckDB's SQL."""

import duckdb
import numpy as np
import pytest

from encoder.errors import ConfigurationError
from pipelines import ArrowEmbedder
from pipelines.dataframes.duckdb import register

TEXTS = ["login failed", None, "card used in tokyo", "", "order paid"]


@pytest.fixture
def connection():
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE events (id INTEGER, message VARCHAR)")
        connection.executemany("INSERT INTO events VALUES (?, ?)", list(enumerate(TEXTS)))
        yield connection


def test_vectors_are_arrays_that_duckdb_compares(connection, model, encoder):
    register(connection, str(model))
    found = connection.sql("SELECT embed(message) AS vector FROM events ORDER BY id")
    assert str(found.types[0]) == f"FLOAT[{encoder.dim}]"
    rows = [row[0] for row in found.fetchall()]
    assert rows[1] is None
    assert np.array_equal(
        np.float32(rows[:1] + rows[2:]), encoder.encode([t for t in TEXTS if t is not None])
    )
    nearest = "ORDER BY array_cosine_similarity(embed(message), embed('an order was paid')) DESC LIMIT 1"
    assert connection.sql(f"SELECT message FROM events WHERE message != '' {nearest}").fetchall() == [
        ("order paid",)
    ]


def test_enrich_gives_all_columns_at_once(connection, headed):
    ref = str(headed())
    register(connection, ref)
    expected = ArrowEmbedder(ref, "message", keep=())(
        connection.sql("FROM events ORDER BY id").to_arrow_table()
    )
    found = connection.sql("SELECT unnest(enrich(message)) FROM events ORDER BY id")
    assert found.columns == expected.column_names
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    for row, wanted in zip(rows, expected.to_pylist(), strict=True):
        assert {**row, "embedding": list(row["embedding"] or ())} == {
            **wanted,
            "embedding": wanted["embedding"] or [],
        }


def test_scores_and_labels_of_heads_by_their_names(connection, headed):
    register(connection, str(headed()))
    for head, score, label in (("fraud", "score", "label"), ("incident", "similarity", "nearest")):
        asked = f"head_score(message, '{head}'), head_label(message, '{head}')"
        same = f"e.{head}_{score}, e.{head}_{label}"
        found = connection.sql(f"SELECT {asked} FROM events ORDER BY id").fetchall()
        assert (
            found
            == connection.sql(
                f"SELECT {same} FROM (SELECT id, enrich(message) AS e FROM events) ORDER BY id"
            ).fetchall()
        )
        assert [row[0] is None for row in found] == [text is None for text in TEXTS]


def test_each_row_may_ask_another_head(connection, headed):
    register(connection, str(headed()))
    mixed = "head_score(message, CASE WHEN id % 2 = 0 THEN 'fraud' ELSE 'odd' END)"
    [found] = zip(*connection.sql(f"SELECT {mixed} FROM events ORDER BY id").fetchall(), strict=True)
    by = {
        head: connection.sql(f"SELECT head_score(message, '{head}') FROM events ORDER BY id").fetchall()
        for head in ("fraud", "odd")
    }
    assert list(found) == [by["odd" if i % 2 else "fraud"][i][0] for i in range(len(TEXTS))]


def test_many_rows_are_each_embedded(connection, model, encoder):
    register(connection, str(model))
    connection.execute("CREATE TABLE vectors AS SELECT i, embed('order ' || i) AS v FROM range(5000) r(i)")
    rows = connection.sql("SELECT i, v FROM vectors WHERE i % 1000 = 7 ORDER BY i").fetchall()
    for i, vector in rows:
        assert np.array_equal(np.float32(vector), encoder.encode(f"order {i}"))
    assert len(rows) == 5


def test_another_model_replaces_the_functions(connection, model, tiny_model, tmp_path):
    register(connection, str(tiny_model(tmp_path / "eight", dim=8)))
    assert connection.sql("SELECT len(embed('paid'))").fetchall() == [(8,)]
    register(connection, str(model))
    assert connection.sql("SELECT len(embed('paid'))").fetchall() == [(16,)]


def test_a_head_that_is_not_there_is_named(connection, headed):
    register(connection, str(headed("fraud", "tags")), heads=["tags"])
    with pytest.raises(duckdb.Error, match="`heads` of register leaves 'fraud' out"):
        connection.sql("SELECT head_score(message, 'fraud') FROM events").fetchall()
    with pytest.raises(duckdb.Error, match="head 'tags' adds tags_labels, tags_scores, and no score or"):
        connection.sql("SELECT head_score(message, 'tags') FROM events").fetchall()
    with pytest.raises(ConfigurationError, match="no head 'odd': it has fraud, tags"):
        register(connection, str(headed("fraud", "tags")), heads=["odd"])
