"""What Beam's sink for PostgreSQL writes of our batches, with pgvector: upserts by id, and a search.

Beam sends the rows by JDBC from Java, which is left out here: its statement and its rows are executed as they
are, by psycopg.
"""

import importlib
from itertools import islice

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.ml.rag.ingestion.jdbc_common import ConnectionConfig
from apache_beam.ml.rag.ingestion.postgres import PostgresVectorWriterConfig
from apache_beam.ml.rag.ingestion.postgres_common import ColumnSpecsBuilder, ConflictResolution
from downloads import postgres as postgres_packages
from engines.postgres import postgres

from encoder import Encoder
from pipelines import EmbedBatches, ToItems
from pipelines.demo.events import make_payments

N = 300
FRAUD = "stolen card"


@pytest.fixture
def connection(monkeypatch):
    monkeypatch.syspath_prepend(str(postgres_packages()))
    psycopg = importlib.import_module("psycopg")
    with postgres() as uri, psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        yield connection


def config():
    columns = ColumnSpecsBuilder.with_defaults()
    columns.add_metadata_field("model_version", str)
    return PostgresVectorWriterConfig(
        ConnectionConfig("jdbc:postgresql://127.0.0.1/postgres", "postgres", ""),
        "payments",
        column_specs=columns.build(),
        conflict_resolution=ConflictResolution("id"),
    )


class Execute(beam.DoFn):
    """Executes a statement for each row of a batch, as Beam's step in Java does."""

    def __init__(self, dsn, statement):
        self._dsn, self._statement = dsn, statement

    def process(self, rows):
        psycopg = importlib.import_module("psycopg")
        with psycopg.connect(self._dsn) as connection, connection.cursor() as cursor:
            cursor.executemany(self._statement, rows)


def write(connection, model, batches):
    """Write batches as Beam's sink does."""
    builder = config().query_builder
    with beam.Pipeline(runner="FnApiRunner", argv=["--direct_num_workers=1"]) as p:
        items = p | beam.Create(batches) | EmbedBatches(model, text="reason")
        items |= ToItems("payments/{partition}/{offset}", "reason", metadata=["kind", "amount"])
        rows = items | beam.Map(builder.create_converter()) | beam.Map(tuple) | beam.BatchElements()
        statement = builder.build_insert().replace("?", "%s")
        _ = rows | beam.ParDo(Execute(connection.info.dsn, statement))


@pytest.mark.server
def test_a_search_finds_the_fraud_and_a_replay_changes_nothing(connection, minilm):
    model = f"{minilm.store}/minilm@1"
    encoder = Encoder.load(model)
    connection.execute(
        "CREATE TABLE payments (id text PRIMARY KEY, embedding vector(256), content text, metadata jsonb, "
        "model_version text)"
    )
    events = list(islice(make_payments(7), N))
    table = pa.table(
        {
            "partition": [i % 3 for i in range(N)],
            "offset": [i // 3 for i in range(N)],
            **{name: [one[name] for one in events] for name in ("kind", "reason", "amount")},
        }
    )
    batches = table.to_batches(64)
    stored = lambda: connection.execute("SELECT * FROM payments ORDER BY id").fetchall()
    write(connection, model, batches)
    before = stored()
    assert len(before) == N
    assert {row[-1] for row in before} == {"minilm@1"}
    write(connection, model, batches[2:])  # as after a crash
    assert stored() == before

    query = encoder.encode("the owner reported that the card was stolen")
    found = connection.execute(
        "SELECT metadata->>'kind', 1 - (embedding <=> %s::vector) FROM payments "
        "ORDER BY embedding <=> %s::vector LIMIT 5",
        [str(query.tolist())] * 2,
    ).fetchall()
    assert {kind for kind, _ in found} == {FRAUD}, found
