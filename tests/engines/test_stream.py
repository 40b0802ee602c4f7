"""Streams on Prism and on Flink: windows appear while records come, models change, and kills lose nothing."""

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from amounts import amount
from drifting import with_baseline
from engines.producers import Producer, TopicProducer, stop
from patience import PATIENCE, wait_for
from topics import unique

from encoder.store.objects import open_objects

KILLS = ("Python worker", "TaskManager") * amount(1, 5)
TIMES = (
    *("--event-time", "at", "--window", "2s", "--out-of-orderness", "1s"),
    *("--idle", "2s", "--lateness", "1h"),
)


def rows(output):
    """`(id, model_version)` of all rows that can be seen, by file."""
    found = {}
    for path in output.glob("*.parquet"):
        table = pq.read_table(path, columns=["id", "model_version"])
        found[path.name] = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return found


def ids(output):
    return sorted(i for file in rows(output).values() for i, _ in file)


def wait_for_files(output, n, job):
    """Wait until a job has written so many files."""
    wait_for(lambda: len(rows(output)), f"{n} files", lambda found: found >= n, process=job)


def wait_for_ids(output, n, job):
    """Wait until a job has written the records 0 … n - 1, each at least once."""
    wait_for(lambda: len(set(ids(output))), f"{n} records", lambda found: found == n, process=job)


@pytest.fixture
def stream(millstream, tmp_path, store):
    """Start a stream from `in` to `out`."""

    def start(*arguments):
        own = ("--model", f"{store.uri}@latest", "--output", f"parquet:{tmp_path / 'out'}", "--shards", 2)
        return millstream("stream", *own, "--input", f"files:{tmp_path / 'in'}", *TIMES, *arguments)

    return start


def check_swap(stream, store, tiny_model, tmp_path, options, *more):
    """A newer version takes over while the stream runs; a broken one does not."""
    output = tmp_path / "out"
    with Producer(tmp_path / "in") as producer:
        job = stream("--follow", "latest", "--every", "0.5s", *more, "--", *options)
        wait_for_files(output, 2, job)
        store.publish(tiny_model(tmp_path / "newer", seed=8))
        labels = lambda: {label for file in rows(output).values() for _, label in file}
        wait_for(labels, "rows of tiny@2", lambda seen: "tiny@2" in seen, process=job)
        publish_damaged(store, tiny_model(tmp_path / "broken", seed=9))
        wait_for_files(output, len(rows(output)) + 4, job)
        n = producer.stop()
        wait_for_ids(output, n, job)
        said = stop(job)
    assert ids(output) == list(range(n))
    versions = defaultdict(set)
    for name, file in rows(output).items():
        versions[name] |= {label for _, label in file}
    assert all(len(labels) == 1 for labels in versions.values()), "no file is mixed"
    assert {label for labels in versions.values() for label in labels} == {"tiny@1", "tiny@2"}
    return said


def check_windows(millstream, store, model, tmp_path, options):
    """A stream with an end writes what it writes in this process, and names the damaged file.

    Its only window of drift ends with it, and has all records.
    """
    store.publish(with_baseline(model, tmp_path / "watched"))
    (tmp_path / "in").mkdir()
    for k in range(6):
        records = [{"id": i, "text": f"login failed {i}", "at": 1_705_305_600 + i} for i in range(k, 300, 6)]
        (tmp_path / f"in/{k}.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    (tmp_path / "in/3.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00" + bytes(200))
    found, drifts = [], []
    for name, more in (("here", ["--runner=FnApiRunner"]), ("there", options)):
        own = ("--model", f"{store.uri}@latest", "--input", f"files:{tmp_path / 'in'}", "--shards", 2)
        output = ("--output", f"parquet:{tmp_path / name}", "--stop-at-end")
        times = ("--event-time", "at", "--window", "10s", "--out-of-orderness", "1h", "--idle", "1h")
        drift = (
            "--drift-window",
            "1h",
            "--drift-records",
            300,
            "--drift-output",
            f"files:{tmp_path / 'drift'}",
        )
        job = millstream("stream", *own, *output, *times, *drift, "--", *more)
        out, err = job.communicate(timeout=PATIENCE)
        assert job.returncode == 1, err[-3000:]
        assert "1 of the files cannot be read to the end" in err
        assert "in/3.jsonl.gz" in out
        found.append({path.name: pq.read_table(path) for path in (tmp_path / name).glob("*.parquet")})
        [path] = (tmp_path / "drift").glob("*.json")
        drifts.append(json.loads(path.read_text()))
        path.unlink()
    here, there = found
    assert len(here) > 30  # of 30 windows and 2 shards; which records meet in a shard depends on their file
    assert here.keys() == there.keys()
    assert all(table.equals(there[name]) for name, table in here.items())
    assert sum(table.num_rows for table in here.values()) == 300
    assert [one["records"] for one in drifts] == [300, 300]
    assert drifts[0]["drift"] == pytest.approx(drifts[1]["drift"])


@pytest.mark.server
def test_worker_processes_write_the_same_windows(millstream, store, model, tmp_path):
    more = ["--runner=FnApiRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    check_windows(millstream, store, model, tmp_path, more)


@pytest.mark.server
def test_prism_writes_the_same_windows(millstream, store, model, tmp_path, prism_options):
    check_windows(millstream, store, model, tmp_path, prism_options)


@pytest.mark.server
def test_flink_writes_the_same_windows(millstream, store, model, tmp_path, flink_options):
    check_windows(millstream, store, model, tmp_path, flink_options)


def publish_damaged(store, folder):
    """Publish a version whose table is there already, with other bytes."""
    table = (folder / "model.safetensors").read_bytes()
    blob = Path(urlsplit(store.uri).path) / "blobs" / hashlib.sha256(table).hexdigest()
    blob.write_bytes(bytes(len(table)))
    assert store.publish(folder).version == 3


@pytest.mark.server
def test_prism_writes_windows_and_changes_models(stream, store, tiny_model, tmp_path, prism_options):
    said = check_swap(stream, store, tiny_model, tmp_path, prism_options)
    assert "version 3 is refused, keeping tiny@2" in said


@pytest.mark.server
def test_prism_writes_windows_into_a_bucket(millstream, store, tmp_path, s3_environment, prism_options):
    output = f"s3://{s3_environment.bucket}/{unique('windows')}"
    objects = open_objects(output)

    def found():
        files = [info.key for info in objects.scan("") if info.key.endswith(".parquet")]
        tables = [pq.read_table(pa.BufferReader(objects.read(key)), columns=["id"]) for key in files]
        return sorted(i for table in tables for i in table["id"].to_pylist())

    with Producer(tmp_path / "in") as producer:
        own = ("--model", f"{store.uri}@latest", "--output", f"parquet:{output}", "--shards", 2)
        job = millstream("stream", *own, "--input", f"files:{tmp_path / 'in'}", *TIMES, "--", *prism_options)
        wait_for(lambda: len(found()), "100 rows", lambda n: n > 100, process=job)
        n = producer.stop()
        wait_for(lambda: len(set(found())), f"{n} rows", lambda seen: seen == n, process=job)
        stop(job)
    assert found() == list(range(n))


@pytest.mark.server
def test_flink_writes_windows_and_changes_models(
    stream, store, tiny_model, tmp_path, flink_cluster, flink_options
):
    options = [*flink_options, "--checkpointing_interval=1000"]
    check_swap(stream, store, tiny_model, tmp_path, options, "--readers", 4)
    assert "version 3 is refused, keeping tiny@2" in flink_cluster.log()


@pytest.mark.server
def test_a_stream_on_flink_survives_kills(stream, tmp_path, flink_cluster, flink_options):
    output = tmp_path / "out"
    with Producer(tmp_path / "in") as producer:
        job = stream("--readers", 4, "--", *flink_options, "--checkpointing_interval=1000")
        for victim in KILLS:
            wait_for_files(output, len(rows(output)) + 3, job)
            flink_cluster.kill(victim)
        wait_for_files(output, len(rows(output)) + 3, job)  # what would come twice has come then
        n = producer.stop()
        wait_for_ids(output, n, job)
        stop(job)
    assert ids(output) == list(range(n))
    assert not (output / "dead_letters").exists()


@pytest.fixture
def topic_stream(millstream, tmp_path, store, kafka):
    """A topic, and the start of a stream from it to `out`."""
    topic = kafka.create_topic(unique("events"), partitions=3)

    def start(*arguments):
        own = ("--model", f"{store.uri}@latest", "--output", f"parquet:{tmp_path / 'out'}", "--shards", 2)
        source = ("--input", f"kafka:{topic}", "--brokers", kafka.address)
        return millstream("stream", *own, *source, *TIMES, *arguments)

    return topic, start


@pytest.mark.server
def test_prism_reads_a_topic_while_it_is_written(topic_stream, tmp_path, kafka, prism_options):
    topic, start = topic_stream
    output = tmp_path / "out"
    with TopicProducer(kafka, topic) as producer:
        job = start("--", *prism_options)
        wait_for_files(output, 4, job)
        n = producer.stop()
        wait_for_ids(output, n, job)
        stop(job)
    assert ids(output) == list(range(n))


@pytest.mark.server
def test_a_topic_on_flink_survives_kills(topic_stream, tmp_path, kafka, flink_cluster, flink_options):
    topic, start = topic_stream
    output = tmp_path / "out"
    with TopicProducer(kafka, topic) as producer:
        job = start("--readers", 3, "--", *flink_options, "--checkpointing_interval=1000")
        for victim in KILLS:
            wait_for_files(output, len(rows(output)) + 3, job)
            flink_cluster.kill(victim)
        wait_for_files(output, len(rows(output)) + 3, job)  # what would come twice has come then
        n = producer.stop()
        wait_for_ids(output, n, job)
        stop(job)
    assert ids(output) == list(range(n))
    assert not (output / "dead_letters").exists()
