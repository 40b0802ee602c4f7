"""Concurrent and killed publishers, lost replies, and a server that ignores conditions."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from amounts import amount
from faults import publisher
from faults.s3 import careless_server, lossy_proxy
from patience import PATIENCE

from encoder.errors import UnsafeStore
from encoder.store.store import ModelStore

KILLS = amount(20, 400)


@pytest.fixture
def run_publishers(tmp_path):
    """Start the publishers' program; its scratch files stay below the test's folder."""

    def run(*arguments) -> subprocess.Popen[str]:
        (tmp_path / "scratch").mkdir(exist_ok=True)
        root = Path(__file__).parents[3]
        environment = {**os.environ, "PYTHONPATH": str(root), "TMPDIR": str(tmp_path / "scratch")}
        return subprocess.Popen(
            [sys.executable, publisher.__file__, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    return run


class Reader(threading.Thread):
    """Reads and verifies the latest version over and over, and keeps what it finds wrong."""

    def __init__(self, uri):
        super().__init__(daemon=True)
        self.store = ModelStore.open(uri)
        self.reads = 0
        self.wrong = []
        self.done = threading.Event()

    def run(self):
        last = 0
        while not self.done.is_set():
            try:
                numbers = self.store.versions()
                if not numbers:
                    continue
                if numbers != list(range(1, numbers[-1] + 1)) or numbers[-1] < last:
                    self.wrong.append(f"after {last}: {numbers}")
                last = numbers[-1]
                self.wrong += self.store.verify(self.store.manifest(last))
                self.reads += 1
            except Exception as error:  # noqa: BLE001 - whatever a reader meets is a finding
                self.wrong.append(repr(error))

    def finish(self):
        self.done.set()
        self.join()
        return self.wrong


def acknowledged(output):
    """The (number, write_id) pairs that publishers saw succeed."""
    lines = [line.split() for line in output.splitlines() if line and not line.startswith("kills")]
    return [(int(number), write_id) for number, write_id in lines]


@pytest.mark.slow
def test_eight_publishers_at_once_get_one_number_each(durable_uri, make_model, run_publishers):
    reader = Reader(durable_uri)
    reader.start()
    process = run_publishers("each", durable_uri, make_model(), 8, 5)
    output, errors = process.communicate(timeout=PATIENCE)
    assert reader.finish() == []
    assert process.returncode == 0, errors
    assert reader.reads > 0
    store, winners = ModelStore.open(durable_uri), acknowledged(output)
    assert sorted(number for number, _ in winners) == store.versions() == list(range(1, 41))
    assert all(store.manifest(number).write_id == write_id for number, write_id in winners)
    assert [problem for number in store.versions() for problem in store.verify(store.manifest(number))] == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_killed_publishers_leave_whole_versions_and_no_gap(durable_uri, make_model, run_publishers, seed):
    reader = Reader(durable_uri)
    reader.start()
    process = run_publishers("killed", durable_uri, make_model(), 4, KILLS, seed)
    output, errors = process.communicate(timeout=PATIENCE)
    assert reader.finish() == []
    assert process.returncode == 0, errors
    store, winners = ModelStore.open(durable_uri), acknowledged(output)
    numbers = store.versions()
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= len(winners) > 0
    assert all(store.manifest(number).write_id == write_id for number, write_id in winners)
    assert [problem for number in numbers for problem in store.verify(store.manifest(number))] == []
    print(f"{output.splitlines()[-1]}, {len(numbers)} versions, {reader.reads} reads")


@pytest.mark.server
@pytest.mark.parametrize("how", ["drop", "503"])
@pytest.mark.parametrize("what", ["/v/", "/blobs/"])
def test_a_hidden_reply_gives_exactly_one_version(s3_environment, monkeypatch, make_model, how, what):
    hidden = []

    def hide(method, path, status):
        if method == "PUT" and what in path and status == 200 and not hidden:
            hidden.append(path)
            return how
        return ""

    with lossy_proxy(s3_environment.port, hide) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        store = ModelStore.open(f"s3://{s3_environment.bucket}/hidden-{how}-{what.strip('/')}/minilm")
        manifest = store.publish(make_model())
        assert len(hidden) == 1
        assert store.versions() == [manifest.version] == [1]
        assert store.manifest() == manifest
        assert store.verify(manifest) == []


@pytest.mark.server
def test_every_other_reply_hidden_gives_every_version_once(s3_environment, monkeypatch, make_model):
    puts = []

    def hide(method, path, status):
        puts.append(path)
        return (
            ("drop", "503", "")[len(puts) % 3] if method == "PUT" and "/v/" in path and status == 200 else ""
        )

    with lossy_proxy(s3_environment.port, hide) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        store = ModelStore.open(f"s3://{s3_environment.bucket}/hidden-often/minilm")
        folder = make_model()
        published = [store.publish(folder) for _ in range(12)]
        assert [manifest.version for manifest in published] == store.versions() == list(range(1, 13))


def test_a_server_that_ignores_if_none_match_is_unsafe(monkeypatch, make_model):
    with careless_server() as (port, objects):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        store = ModelStore.open("s3://bucket/models/minilm")
        for _ in range(2):
            with pytest.raises(UnsafeStore, match="s3://bucket/models/minilm overwrites"):
                store.publish(make_model())
        assert objects == {}
        assert store.versions() == []


FORKED = """
import os, sys
from encoder.errors import ConfigurationError
from encoder.store.objects import open_objects
open_objects("memory://a/b").scan("v")
pid = os.fork()
if pid == 0:
    try:
        open_objects("s3://bucket/models").scan("v")
    except ConfigurationError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""


def test_a_forked_process_gets_an_error_instead_of_hanging():
    result = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert "start processes with 'spawn'" in result.stdout
