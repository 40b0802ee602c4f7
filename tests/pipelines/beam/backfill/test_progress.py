import threading

import pyarrow as pa
import pytest
from parquet_parts import write_batch
from patience import PATIENCE

from encoder.errors import StoreUnavailable
from pipelines.beam.backfill.job import BackfillJob, Counts, part_metadata, part_name
from pipelines.beam.backfill.progress import ProgressMonitor
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.template import TextTemplate
from pipelines.sinks.parquet import ParquetParts


@pytest.fixture
def job(tmp_path):
    version = ModelVersion("m", "m", 1, "sha256:00", 4)
    enrichment = Enrichment(TextTemplate.parse("text"))
    return BackfillJob(version, (), pa.schema({}), enrichment, (tmp_path / "out").as_uri())


def write_part(job, k):
    batch = pa.record_batch({"id": [1, 2]})
    write_batch(
        ParquetParts(job.output), part_name(0, 0, k), batch, part_metadata(job, Counts(3, 2, 1, 10, 1))
    )


def test_every_part_is_counted_once(job, monkeypatch):
    watch = ProgressMonitor(job, lambda _: None)
    assert watch.poll() == Counts()
    looked = []
    metadata = ParquetParts.metadata
    monkeypatch.setattr(
        ParquetParts, "metadata", lambda self, name: looked.append(name) or metadata(self, name)
    )
    for k in range(3):
        write_part(job, k)
        assert watch.poll() == watch.poll() == Counts(3, 2, 1, 10, 1) + Counts(3 * k, 2 * k, k, 10 * k, k)
    assert looked == [part_name(0, 0, k) for k in range(3)]


def test_it_tells_while_it_runs_and_is_silent_afterwards(job):
    told, called = [], threading.Event()

    def tell(counts):
        told.append(counts)
        called.set()

    write_part(job, 0)
    with ProgressMonitor(job, tell, seconds=0.01):
        assert called.wait(PATIENCE)
    n = len(told)
    assert told[0].parts == 1
    called.clear()
    assert not called.wait(0.05)
    assert len(told) == n


def test_a_store_that_is_away_delays_the_news_only(job, monkeypatch):
    told, called, fails = [], threading.Event(), [StoreUnavailable("away")] * 3
    names = ParquetParts.names

    def sometimes(self):
        if fails:
            raise fails.pop()
        return names(self)

    monkeypatch.setattr(ParquetParts, "names", sometimes)
    write_part(job, 0)
    with ProgressMonitor(job, lambda counts: told.append(counts) or called.set(), seconds=0.01):
        assert called.wait(PATIENCE)
    assert told[0].parts == 1


def test_the_end_does_not_wait_for_the_next_look(job):
    with ProgressMonitor(job, lambda _: None, seconds=3600):
        pass
    assert not [thread for thread in threading.enumerate() if "_run" in thread.name]
