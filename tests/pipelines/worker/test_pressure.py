"""A sink that does not take anything, and a backlog many times larger than memory may be."""

import os
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults.s3 import lossy_proxy
from patience import PATIENCE, wait_for
from prometheus_client.parser import text_string_to_metric_families
from servers import free_ports
from topics import write_topic

from encoder.store.objects import open_objects

pytestmark = [pytest.mark.server, pytest.mark.slow]
MIB = 1 << 20
RECORDS, LENGTH = 160_000, 1500
MAX_MEMORY = 64  # MiB, the least that can be given
QUEUES = 4 * 4  # MiB that the client fetches ahead, for four partitions
POLL_SECONDS = 6


@pytest.fixture
def slow_store(s3_environment):
    """An S3 store that takes no Parquet file until it is told to: environment, URI, and how to tell it."""
    opened = threading.Event()

    def hide(method, path, _status):
        if method == "PUT" and path.endswith(".parquet"):
            opened.wait(PATIENCE)
        return ""

    with lossy_proxy(s3_environment.port, hide) as port:
        uri = f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}"
        yield {**s3_environment.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}, uri, opened
        opened.set()


def metrics(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        text = answer.read().decode()
    return {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}


def metrics_until(port, what, wanted):
    """The metrics as soon as they are as wanted."""

    def look():
        with suppress(OSError):  # it does not listen yet
            return metrics(port)

    return wait_for(look, what, lambda found: found and wanted(found), pause=0.2)


@pytest.fixture
def command(topics, model):
    properties = {
        "max.poll.interval.ms": 1000 * POLL_SECONDS,
        "session.timeout.ms": 1000 * POLL_SECONDS,
        "queued.max.messages.kbytes": 4096,
        "statistics.interval.ms": 500,
    }
    return [
        *(sys.executable, "-m", "pipelines", "worker", "--brokers", topics.broker.address),
        *("--group", topics.group, "--input", topics.input, "--model", str(model)),
        *("--dead-letters", f"topic:{topics.dead}", "--fields", "text:string", "--vectors", "binary"),
        *("--max-memory", str(MAX_MEMORY)),
        *(part for key, value in properties.items() for part in ("--property", f"{key}={value}")),
    ]


def test_memory_is_bounded_and_the_worker_stays_in_its_group(topics, command, slow_store, tmp_path):
    environment, uri, opened = slow_store
    [port] = free_ports(1)
    record = b'{"text": "' + (b"card used in lisbon " * (LENGTH // 20)) + b'"}'
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            [*command, "--output", f"parquet:{uri}", "--listen", f"127.0.0.1:{port}"],
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
        )
    try:
        before = metrics_until(port, "partitions", lambda m: m["millstream_assigned_partitions"] == 4)
        write_topic(topics.broker.address, topics.input, [record] * RECORDS)
        held = metrics_until(port, "a full sink", lambda m: m["millstream_held_partitions"] == 4)
        largest, end = 0.0, time.monotonic() + 2 * POLL_SECONDS
        while time.monotonic() < end:  # longer than it may go without asking the broker for records
            held = metrics(port)
            largest = max(largest, held["process_resident_memory_bytes"])
            time.sleep(0.2)
        assert held["millstream_records_total"] < RECORDS / 2, "the sink is blocked, and reading went on"
        assert held["millstream_held_partitions"] == 4
        assert held["millstream_waiting_bytes"] <= MAX_MEMORY * MIB
        opened.set()
        done = metrics_until(port, "all records", lambda m: m["millstream_records_total"] == RECORDS)
        largest = max(largest, done["process_resident_memory_bytes"])
        grown = (largest - before["process_resident_memory_bytes"]) / MIB
        backlog = RECORDS * LENGTH / MIB
        assert grown < 2 * MAX_MEMORY + QUEUES + 64 < backlog
        assert done["millstream_rebalances"] == before["millstream_rebalances"]
    finally:
        worker.terminate()
        assert worker.wait(PATIENCE) == 0
    assert (tmp_path / "log").read_text().count('"message":"assigned') == 1
    assert rows_of(uri, topics.input) == RECORDS


def rows_of(uri, topic):
    objects = open_objects(uri)
    files = [info.key for p in range(4) for info in objects.scan(f"{topic}/p{p}")]
    return sum(pq.read_metadata(pa.BufferReader(objects.read(key))).num_rows for key in files)
