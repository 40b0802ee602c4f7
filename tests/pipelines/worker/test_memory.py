"""How much memory a worker takes, for input that is small on the wire and for many open files."""

import random
import re
import subprocess
import sys
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from patience import PATIENCE, wait_for
from servers import free_ports
from topics import unique, write_compressed

pytestmark = [pytest.mark.server, pytest.mark.slow]
MAX_MEMORY = 64  # MiB, the least that can be given
# MiB: Python, its libraries, the model, and what the client fetches ahead. An AMD EPYC stays below 400, an
# Intel Xeon with AMX takes 399 to 402.
BESIDE = 412


@contextmanager
def worker(broker, topic, *options):
    """A worker with the least memory; gives its peak resident MiB once it has read `n` records."""
    [port] = free_ports(1)
    command = [
        *(sys.executable, "-m", "pipelines", "worker", "--brokers", broker.address, "--group", unique("g")),
        *("--input", topic, "--max-memory", str(MAX_MEMORY), "--listen", f"127.0.0.1:{port}", *options),
    ]
    process = subprocess.Popen(command)

    def peak_after(n):
        def records():
            assert process.poll() is None
            with suppress(OSError):  # it does not listen yet
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
                    found = re.search(
                        r"^millstream_records_total (\S+)", answer.read().decode(), re.MULTILINE
                    )
                return float(found[1])

        wait_for(records, f"{n} records", lambda found: found == n, pause=0.2)
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024

    try:
        yield peak_after
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("output", ["topic", "parquet"])
def test_large_records_that_are_small_on_the_wire(kafka, model, tmp_path, output):
    """Each has 0.9 MB, and as Python objects some 20 MB."""
    topic, out, dead = (unique(name) for name in ("in", "out", "dead"))
    for name in (topic, out, dead):
        kafka.create_topic(name, 1)
    value = b'{"text": "disk full", "more": [' + b",".join([b"[]"] * 300_000) + b"]}"
    write_compressed(kafka.address, topic, [value], 204)
    target = f"topic:{out}" if output == "topic" else f"parquet:{tmp_path}/out"
    with worker(
        kafka,
        topic,
        *("--output", target, "--dead-letters", f"topic:{dead}", "--model", str(model)),
        *("--fields", "text:string"),
    ) as peak_after:
        assert peak_after(204) < MAX_MEMORY + BESIDE


def test_a_backlog_in_a_hundred_partitions(kafka, model, tmp_path):
    topic, dead = unique("in"), unique("dead")
    kafka.create_topic(topic, 100)
    kafka.create_topic(dead, 1)
    dice, trace = random.Random(0), b"at com.example.Payment.authorise(Payment.java:118) "
    values = [
        b'{"text": "card used in lisbon", "id": "%s", "trace": "%s"}'
        % (dice.randbytes(50).hex().encode(), 25 * trace)
        for _ in range(1000)
    ]
    write_compressed(kafka.address, topic, values, 300)
    with worker(
        kafka,
        topic,
        *("--output", f"parquet:{tmp_path}/out", "--dead-letters", f"topic:{dead}", "--model", str(model)),
    ) as peak_after:
        assert peak_after(300_000) < MAX_MEMORY + BESIDE
