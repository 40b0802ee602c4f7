"""Two writers of one window: whoever is late, the file has every row once; in a folder and in a bucket."""

import dataclasses
import threading
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.utils.timestamp import Timestamp
from patience import PATIENCE

from encoder.store.objects import open_objects
from pipelines.beam.streaming.batch import ROW, SOURCE, bad_batch
from pipelines.beam.streaming.model import PinnedModel
from pipelines.beam.streaming.sinks.parquet import WindowFile, _Write, window_name
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.bad_rows import BadRow
from pipelines.records.template import TextTemplate

START = 1_800_000_000
NAME = window_name(START, 10, 0)


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.server)])
def output(request, tmp_path):
    if request.param == "folder":
        return (tmp_path / "out").as_uri()
    server = request.getfixturevalue("s3_environment")
    return f"s3://{server.bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def file(output, model):
    enrichment = Enrichment(TextTemplate.parse("text"), ("id",))
    return WindowFile(PinnedModel(ModelVersion.resolve(str(model))), enrichment, output)


class Window:
    start, end = Timestamp(START), Timestamp(START + 10)


class Pane:
    def __init__(self, index):
        self.index = index


def fire(file, ids, pane=0, source="a", bad=()):
    """One firing of the window by a worker of its own."""
    dofn = _Write(file)
    dofn.setup()
    columns = {"id": pa.array(ids, pa.int64()), "text": [f"login failed {i}" for i in ids]}
    places = {SOURCE: [source] * len(ids), ROW: pa.array(ids, pa.int64())}
    piece = pa.record_batch({**columns, **places}), bad_batch(bad)
    return list(dofn.process((0, [piece]), Window, Pane(pane)))


def rows(output):
    return pq.read_table(pa.BufferReader(open_objects(output).read(NAME)))["id"].to_pylist()


class Stalled:
    """A model whose worker stands still in the middle of its window until it is let go."""

    def __init__(self, model):
        self._model = model
        self.reached, self.go = threading.Event(), threading.Event()

    def current(self):
        self.reached.set()
        assert self.go.wait(PATIENCE)
        return self._model.current()


def test_a_zombie_does_not_put_its_older_firing_over_a_newer_one(file, output):
    stalled = Stalled(file.model)
    written = []
    zombie = threading.Thread(
        target=lambda: written.extend(
            fire(dataclasses.replace(file, model=stalled), [1, 2], bad=[BadRow("a", 9, "old", b"")])
        )
    )
    zombie.start()
    assert stalled.reached.wait(PATIENCE)
    assert fire(file, [1, 2]) == [NAME]  # the attempt that replaced it
    assert fire(file, [1, 2, 3], pane=1, bad=[BadRow("a", 9, "new", b"")]) == [NAME]
    stalled.go.set()
    zombie.join()
    assert written == []
    assert rows(output) == [1, 2, 3]
    assert b"new" in open_objects(output).read(f"dead_letters/_{NAME.removesuffix('.parquet')}.jsonl")


def test_two_attempts_at_once_leave_one_whole_file(file, output):
    together = threading.Barrier(2)

    def attempt():
        together.wait()
        fire(file, [3, 1, 2])

    threads = [threading.Thread(target=attempt) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert rows(output) == [1, 2, 3]
    assert [info.key for info in open_objects(output).scan("")] == [NAME]


def test_a_stream_with_other_records_replaces_the_file(file, output):
    assert fire(file, [1, 2, 3]) == [NAME]
    assert fire(file, [4], source="b") == [NAME]  # begun anew, on files that were not there before
    assert rows(output) == [4]
