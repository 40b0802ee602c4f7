"""Two writers of one window: whoever is late, the file has every row once; in a folder and in a bucket."""

import dataclasses
import hashlib
import json
import threading
import uuid
from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.utils.timestamp import Timestamp
from patience import PATIENCE

from encoder.store.objects import open_objects
from pipelines.beam.streaming.batch import ROW, SOURCE, bad_batch
from pipelines.beam.streaming.model import PinnedModel
from pipelines.beam.streaming.sinks.parquet import WindowFile, _Write
from pipelines.beam.streaming.sinks.window_files import window_name
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.bad_rows import BadRow
from pipelines.records.template import TextTemplate
from pipelines.sinks.parquet import PartWriter
from pipelines.sinks.tables.partitioning import parse_partition_by

START = 1_705_305_600
NAME = window_name(START, 10, 0)
SECOND = NAME.replace(".parquet", "-1.parquet")


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


def rows(output, name=NAME):
    return pq.read_table(pa.BufferReader(open_objects(output).read(name)))["id"].to_pylist()


def parquet(output):
    return [info.key for info in open_objects(output).scan("") if info.key.endswith(".parquet")]


def test_rows_are_in_the_folders_of_their_partitions(file, output):
    file = replace(
        file, enrichment=replace(file.enrichment, keep=("id", "text")), partitions=parse_partition_by("text")
    )
    names = [f"text=login failed {i}/{NAME}" for i in (1, 2, 3)]
    assert fire(file, [1, 2]) == names[:2]
    assert fire(file, [1, 2, 3], pane=1) == names[2:]
    assert [rows(output, name) for name in names] == [[1], [2], [3]]
    table = pq.ParquetFile(pa.BufferReader(open_objects(output).read(names[0]))).read()
    assert table.column_names == ["id", "embedding", "model_version"]
    late = fire(file, [1, 2], pane=1, bad=[BadRow("a", 9, "no", b"x")])
    assert late == []
    assert b'"reason":"no"' in open_objects(output).read(f"dead_letters/_{NAME[:-8]}.jsonl")


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


def test_a_stream_without_the_earlier_records_writes_beside_the_file(file, output):
    """Their input was archived, or the subscription drained."""
    assert fire(file, [1, 2], bad=[BadRow("a", 9, "old", b"")]) == [NAME]
    assert fire(file, [3], source="b", bad=[BadRow("b", 8, "new", b"")]) == [SECOND]
    assert [rows(output, name) for name in (NAME, SECOND)] == [[1, 2], [3]]
    letters = open_objects(output).read(f"dead_letters/_{NAME.removesuffix('.parquet')}.jsonl")
    assert b"old" in letters
    assert b"new" in letters


def test_a_firing_that_is_repeated_or_grows_stays_in_its_further_file(file, output):
    fire(file, [1, 2])
    for pane, ids in ((0, [3]), (0, [3]), (1, [3, 4]), (1, [3, 4]), (2, [3, 4])):
        fire(file, ids, pane=pane, source="b")
    assert [rows(output, name) for name in (NAME, SECOND)] == [[1, 2], [3, 4]]
    assert len(parquet(output)) == 2


def test_rows_that_another_file_has_are_not_written_again(file, output):
    """Part of the earlier input is still there."""
    fire(file, [1, 2, 3])
    assert fire(file, [2, 3, 4, 5]) == [SECOND]
    assert fire(file, [2, 3]) == []  # a stale worker
    assert [rows(output, name) for name in (NAME, SECOND)] == [[1, 2, 3], [4, 5]]


def test_with_all_records_again_each_row_stays_in_its_file(file, output):
    fire(file, [1, 2])
    fire(file, [4])
    assert fire(file, [1, 2, 3, 4]) == [NAME, SECOND]
    assert [rows(output, name) for name in (NAME, SECOND)] == [[1, 2, 3], [4]]


def test_a_file_that_readers_took_away_leaves_its_further_file_alone(file, output):
    fire(file, [1, 2])
    fire(file, [4])
    open_objects(output).delete(NAME)
    assert fire(file, [1, 2, 4]) == [SECOND]
    assert rows(output, SECOND) == [1, 2, 4]


def test_a_crash_between_two_files_is_mended_by_the_repeated_firing(file, output, monkeypatch):
    fire(file, [1, 2])
    fire(file, [4, 5])
    write, written = _Write._write, []

    def crash(self, name, target, *rest):
        if written:
            raise ConnectionError("the machine is gone")
        written.append(target.name)
        write(self, name, target, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(_Write, "_write", crash)
        with pytest.raises(ConnectionError):
            fire(file, [1, 2, 3, 4, 5])
    assert sorted(rows(output, NAME) + rows(output, SECOND)) == [1, 2, 3, 4, 5]
    fire(file, [1, 2, 3, 4, 5])
    assert [rows(output, name) for name in (NAME, SECOND)] == [[1, 2, 3], [4, 5]]


def test_two_streams_that_share_a_subscription_lose_nothing(file, output):
    """Each has other rows of the window, and both write its first file at once."""
    stalled = Stalled(file.model)
    slow = threading.Thread(target=fire, args=(dataclasses.replace(file, model=stalled), [1, 2]))
    slow.start()
    assert stalled.reached.wait(PATIENCE)
    assert fire(file, [3]) == [NAME]
    stalled.go.set()
    slow.join()
    assert [rows(output, name) for name in (NAME, SECOND)] == [[3], [1, 2]]


def test_another_input_of_the_same_name_is_not_the_same_rows(file, output):
    fire(file, [1, 2], source="a.jsonl\x009-old")
    assert fire(file, [1, 2], source="a.jsonl\x009-new") == [SECOND]
    assert parquet(output) == [SECOND, NAME]


def earlier(monkeypatch, file, ids, **more):
    """Write a file as version 0.1.0 did: with a digest and counts instead of positions."""

    def describe(self, metadata):
        positions = [[BAD.file, BAD.row]] if more else []
        digest = hashlib.sha256(np.array(ids, np.int64).tobytes() + np.zeros(len(ids), np.int32).tobytes())
        digest.update(msgspec.json.encode([["a"], positions]))
        own = {"millstream.places": digest.hexdigest(), "millstream.rows": json.dumps({"a": len(ids)})}
        self._writer.add_key_value_metadata({"millstream.model": metadata["millstream.model"], **own})

    with monkeypatch.context() as patched:
        patched.setattr(PartWriter, "describe", describe)
        fire(file, ids, **more)


BAD = BadRow("a", 9, "not JSON", b"oops")


@pytest.mark.parametrize("more", [{}, {"bad": [BAD]}])
def test_files_of_earlier_versions_are_replaced_by_what_covers_them(monkeypatch, file, output, more):
    earlier(monkeypatch, file, [1, 2], **more)
    assert fire(file, [1, 2, 3], **more) == [NAME]
    assert rows(output) == [1, 2, 3]


def test_files_of_earlier_versions_stay_where_nothing_shows_their_rows(monkeypatch, file, output, caplog):
    earlier(monkeypatch, file, [1, 2])
    assert fire(file, [3, 4, 5]) == [SECOND]
    assert [rows(output, name) for name in (NAME, SECOND)] == [[1, 2], [3, 4, 5]]
    assert "an earlier version wrote this file" in caplog.text
