"""Several windows and shards in one bundle: Beam's own Parquet sink loses rows, ours does not."""

import gc
import json

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.parquetio import WriteToParquetBatched
from apache_beam.testing import test_stream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from pipelines.beam.streaming.batch import ROW, SOURCE, Windows, bad_batch
from pipelines.beam.streaming.interfaces import StreamJob, stream
from pipelines.beam.streaming.model import PinnedModel
from pipelines.beam.streaming.sinks.parquet import ParquetSink, WindowFile, WriteWindows, _Write
from pipelines.beam.streaming.sinks.window_files import window_name
from pipelines.beam.streaming.sources.files import FileSource
from pipelines.beam.streaming.watermark import WatermarkPolicy
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.bad_rows import BadRow
from pipelines.records.template import TextTemplate
from pipelines.sinks.parquet import ParquetParts

N = 40
SECOND = 10**6
START = 1_705_305_600
SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string()), ("at", pa.int64())])


def text_of(i):
    return f"login failed {i}"


@pytest.fixture
def folder(tmp_path):
    """Records a second apart, in four files."""
    (tmp_path / "in").mkdir()
    for k in range(4):
        lines = [json.dumps({"id": i, "text": text_of(i), "at": START + i}) for i in range(k, N, 4)]
        (tmp_path / f"in/{k}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def source(folder):
    def make(windows):
        policy = WatermarkPolicy(out_of_orderness=3600 * SECOND, idle=3600 * SECOND)
        return FileSource(str(folder / "in"), None, SCHEMA, windows, policy, ends=True, parts=1)

    return make


@pytest.fixture
def file(folder, model):
    enrichment = Enrichment(TextTemplate.parse("text"), ("id",))
    return WindowFile(PinnedModel(ModelVersion.resolve(str(model))), enrichment, (folder / "out").as_uri())


def pipeline():
    return beam.Pipeline(runner="FnApiRunner", argv=["--direct_num_workers=1"])


def readable(path):
    try:
        return pq.read_table(path)["id"].to_pylist()
    except pa.ArrowInvalid:  # truncated by another writer
        return []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the writers that it forgets
@pytest.mark.parametrize(("size", "shards"), [(10, 1), (10, 2), (100, 3)])
@pytest.mark.slow
def test_beams_own_sink_loses_rows(size, shards, folder, source):
    rows = beam.FlatMap(
        lambda batch: [
            TimestampedValue(pa.table({"id": [one["id"]]}), one["at"]) for one in batch.records.to_pylist()
        ]
    )
    with pipeline() as p:
        _ = (
            p
            | beam.io.Read(source(Windows(size * SECOND, field="at")))
            | rows
            | beam.WindowInto(FixedWindows(size))
            | WriteToParquetBatched(str(folder / "out/x"), pa.schema([("id", pa.int64())]), num_shards=shards)
        )
    gc.collect()
    assert sum(len(readable(path)) for path in (folder / "out").iterdir()) < N


@pytest.mark.slow
@pytest.mark.parametrize(("size", "shards"), [(10, 1), (10, 2), (100, 3)])
def test_ours_keeps_every_row_in_its_window(size, shards, folder, source, file, encoder):
    windows = Windows(size * SECOND, field="at")
    with pipeline() as p:
        names = stream(p, StreamJob(source(windows), ParquetSink(windows, shards, file)))
        assert_that(names | beam.Distinct(), lambda found: len(found) > max(1, N // size) - 1)
    seen = []
    for path in (folder / "out").glob("*.parquet"):
        table = pq.read_table(path)
        start = path.name.split("-")[1]
        for i in table["id"].to_pylist():
            assert window_name((START + i) // size * size, size, 0).split("-")[1] == start
            seen.append(i)
        vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
        assert np.array_equal(vectors, encoder.encode([text_of(i) for i in table["id"].to_pylist()]))
    assert sorted(seen) == list(range(N))


def piece(ids, source="a", bad=()):
    columns = {
        "id": pa.array(ids, pa.int64()),
        "text": [text_of(i) for i in ids],
        SOURCE: [source] * len(ids),
    }
    return pa.record_batch({**columns, ROW: pa.array(ids, pa.int64())}), bad_batch(bad)


def test_late_rows_replace_the_file_of_their_window(folder, file):
    late = (
        test_stream.TestStream()
        .add_elements([TimestampedValue((0, piece([1, 2])), START + 1)])
        .advance_watermark_to(START + 12)
        .add_elements([TimestampedValue((0, piece([3])), START + 5)])
        .advance_watermark_to_infinity()
    )
    with beam.Pipeline(runner="BundleBasedDirectRunner", argv=["--streaming"]) as p:
        names = p | late | WriteWindows(Windows(10 * SECOND, 60 * SECOND), file)
        name = window_name(START, 10, 0)
        assert_that(names, equal_to([name, name]))  # and not a third time at the end of the window
    assert readable(folder / "out" / name) == [1, 2, 3]


@pytest.fixture
def write(file):
    """Write one firing of a window."""
    dofn = _Write(file)
    dofn.setup()

    class Window:
        start, end = Timestamp(START), Timestamp(START + 10)

    class Pane:
        index = 0

    def fire(*slices, pane=0):
        Pane.index = pane
        return list(dofn.process((0, list(slices)), Window, Pane))

    return fire


def test_rows_that_come_twice_are_there_once_and_in_order(write, folder):
    [name] = write(piece([5, 3], "b"), piece([3, 4], "b"), piece([9, 3], "a"))
    assert readable(folder / "out" / name) == [3, 9, 3, 4, 5]


def test_a_firing_without_anything_new_writes_nothing(write, folder):
    [name] = write(piece([1]), piece([2]))
    before = (folder / "out" / name).stat().st_mtime_ns
    assert write(piece([2, 1]), pane=1) == []
    assert (folder / "out" / name).stat().st_mtime_ns == before
    assert write(piece([1]), piece([2]), piece([3]), pane=2) == [name]
    assert readable(folder / "out" / name) == [1, 2, 3]
    (folder / "out" / name).unlink()
    assert write(piece([1]), pane=3) == [name]


def test_a_firing_of_nothing_at_the_end_of_a_window_is_no_error(write, folder):
    """Flink's, when a window takes no more late rows."""
    assert write() == []
    [name] = write(piece([1, 2]))
    before = (folder / "out" / name).stat().st_mtime_ns
    assert write(pane=1) == []
    assert (folder / "out" / name).stat().st_mtime_ns == before


def test_bad_rows_stand_beside_the_file(write, folder, letters):
    unread = BadRow("a", 7, "not JSON", b"oops")
    textless = pa.record_batch({"id": [2], "text": pa.nulls(1, pa.string()), SOURCE: ["a"], ROW: [2]})
    write(piece([1], bad=[unread]), (textless, bad_batch([])))
    found = letters(folder / "out")
    assert [(one["row"], one["reason"]) for one in found] == [(2, "the text is null: text"), (7, "not JSON")]
    assert json.loads(found[0]["record"]) == {"id": 2, "text": None}


def test_a_window_of_bad_rows_alone_has_no_file(write, folder, letters):
    write(piece([], bad=[BadRow("a", 7, "not JSON", b"oops")]))
    assert len(letters(folder / "out")) == 1
    assert ParquetParts((folder / "out").as_uri()).names() == []


def test_a_file_says_what_made_it(write, folder, model):
    [name] = write(piece([1]))
    told = ParquetParts((folder / "out").as_uri()).metadata(name)
    assert told["millstream.model"] == ModelVersion.resolve(str(model)).label
