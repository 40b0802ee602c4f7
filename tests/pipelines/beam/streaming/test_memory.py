"""How much memory a stream takes for messages that are small on the wire."""

import subprocess
import sys

import pytest
from topics import read_topic, unique, write_compressed

pytestmark = [pytest.mark.server, pytest.mark.slow]
MOST = 700  # MiB: Python, Beam, the model, and some messages
# A process inherits the peak of the one that starts it, and that of the tests is large.
_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_large_records_that_are_small_on_the_wire(kafka, model):
    """Each has 0.9 MB, and as Python objects some 20 MB."""
    topic, out, dead = (kafka.create_topic(unique(name), 1) for name in ("in", "out", "dead"))
    value = b'{"text": "disk full", "more": [' + b",".join([b"[]"] * 300_000) + b"]}"
    write_compressed(kafka.address, topic, [value], 100)
    command = [
        *(sys.executable, "-m", "pipelines", "stream", "--model", str(model), "--brokers", kafka.address),
        *("--input", f"kafka:{topic}", "--output", f"kafka:{out}", "--dead-letters", f"kafka:{dead}"),
        *("--keep", "text", "--stop-at-end"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, *command], stdout=subprocess.PIPE, text=True, check=True
    )
    assert len(read_topic(kafka.address, out)) == 100
    assert int(done.stdout.split()[-1]) / 1024 < MOST
