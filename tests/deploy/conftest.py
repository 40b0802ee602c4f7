"""What is deployed, read as its users' tools read it: manifests, compose file, the worker's options."""

import functools
import os
import subprocess
import sys
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import tiny_tokenizers
import yaml
from downloads import kustomize as fetched_kustomize
from downloads import needed
from local_http import LocalServer
from prometheus import ADVICE

from encoder.model import StaticModel, save_model
from pipelines.cli import app as cli
from pipelines.cli.worker import run as worker_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def kustomize():
    """Build a kustomization of `deploy/kubernetes`; its objects."""

    @functools.cache
    def build(name):
        done = subprocess.run(
            [fetched_kustomize(), "build", ROOT / "deploy/kubernetes" / name],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return list(yaml.safe_load_all(done.stdout))

    return build


@pytest.fixture
def promtool():
    """Run promtool; what it says."""

    def run(*arguments):
        program = needed("promtool", ADVICE)
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def started_plan(monkeypatch):
    """The plan that `millstream ARGUMENTS…` starts a worker with, made by the command itself."""

    def read(arguments, environment=None):
        started = []
        monkeypatch.setattr(worker_run, "run", lambda plan, **_: started.append(plan))
        monkeypatch.setattr(worker_run, "log_as", lambda _form: None)
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["millstream", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        [plan] = started
        return plan

    return read


class Ranges(SimpleHTTPRequestHandler):
    """Serves a folder, and parts of files."""

    parts: list[str]

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        wanted = self.headers["Range"]
        if not wanted or not path.is_file():
            super().do_GET()
            return
        first, last = (int(end) for end in wanted.removeprefix("bytes=").split("-"))
        data = path.read_bytes()[first : last + 1]
        self.parts.append(f"{path.name} {first}-{first + len(data)}")
        self.send_response(206)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Range", f"bytes {first}-{first + len(data) - 1}/{path.stat().st_size}")
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def site(tmp_path):
    """The address of a server of `tmp_path`, and the parts of files that it sent."""
    parts = []
    handler = type("Handler", (Ranges,), {"parts": parts})
    server = LocalServer(lambda *args: handler(*args, directory=tmp_path))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", parts
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of a tiny model."""
    tokenizer = tiny_tokenizers.named("uncased")
    table = np.random.default_rng(7).normal(size=(tokenizer.get_vocab_size(), 16)).astype(np.float32)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return save_model(StaticModel(table, tokenizer.to_str(), {"normalize": True}), folder)


@pytest.fixture
def worker(tmp_path):
    """Start `millstream worker …` in a process of its own, which does not outlive the test."""
    started = []

    def start(*arguments):
        with (tmp_path / "worker.log").open("ab") as log:
            command = [sys.executable, "-m", "pipelines", "worker", *map(str, arguments)]
            started.append(subprocess.Popen(command, stderr=log, env={**os.environ}))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
