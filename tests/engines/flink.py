"""Apache Flink on this machine: a JobManager, a TaskManager, Beam's job server, a pool of Python workers.

`with flink() as cluster: …`, or `make flink` for a person.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from downloads import flink_jars
from engines.processes import JAVA_FLAGS, Server, children
from logs import tails
from patience import wait_for
from servers import free_ports

__all__ = ["FlinkCluster", "Victim", "flink"]

ROOT = Path(__file__).parents[2]
SLOTS = 2
MISSED_SECONDS = 15.0
Victim = Literal["TaskManager", "Python worker"]
_ENDED = ("FINISHED", "CANCELED", "FAILED")
_CONFIG = """\
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: 127.0.0.1
jobmanager.memory.process.size: 1600m
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: {rest}
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.numberOfTaskSlots: {slots}
taskmanager.memory.process.size: 4096m
taskmanager.memory.task.off-heap.size: 512m
state.checkpoints.dir: file://{folder}/checkpoints
io.tmp.dirs: {folder}/tmp
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 100
restart-strategy.fixed-delay.delay: 1 s
heartbeat.interval: 1000
heartbeat.timeout: 10000
"""


class FlinkCluster:
    """A standalone cluster with two slots.

    Args:
        folder: where its configuration, its logs and its checkpoints go; empty at first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._java = ["java", *JAVA_FLAGS, "-cp", f"{flink_jars()}/*"]
        self._rpc, self._rest, self._job, self._artifacts, self._expansion, self._pool = free_ports(6)
        for name in ("conf", "tmp", "checkpoints", "artifacts"):
            (folder / name).mkdir()
        config = _CONFIG.format(rpc=self._rpc, rest=self._rest, slots=SLOTS, folder=folder)
        (folder / "conf/config.yaml").write_text(config)
        self._servers: dict[str, Server] = {}

    def start(self) -> None:
        """Start everything and wait until the slots are free."""
        entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        self._start("jobmanager", [*self._java, "-Xmx1g", entry, "--configDir", "conf"], self._rest)
        self._start("jobserver", [*self._java, "-Xmx512m", *self._job_server()], self._job)
        pool = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main"]
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # it starts `python`
            "PYTHONPATH": str(ROOT),
        }
        self._start("workers", [*pool, f"--service_port={self._pool}"], self._pool, environment)
        self.start_task_manager()
        for name in ("jobmanager", "jobserver", "workers"):
            self._servers[name].wait()
        self.wait_for_slots()

    def _job_server(self) -> list[str]:
        ports = {"job": self._job, "artifact": self._artifacts, "expansion": self._expansion}
        return [
            "org.apache.beam.runners.flink.FlinkJobServerDriver",
            "--job-host=127.0.0.1",
            *(f"--{name}-port={port}" for name, port in ports.items()),
            f"--artifacts-dir={self._folder}/artifacts",
            f"--flink-master=127.0.0.1:{self._rest}",
        ]

    def _start(
        self, name: str, command: list[str], port: int, environment: dict[str, str] | None = None
    ) -> None:
        self._servers[name] = Server(name, command, self._folder, port, environment)

    def start_task_manager(self) -> None:
        """Start the TaskManager, also after its end."""
        utility = ["org.apache.flink.runtime.util.bash.BashJavaUtils", "GET_TM_RESOURCE_PARAMS"]
        sizes = Server("sizes", [*self._java, *utility, "--configDir", "conf"], self._folder, 0)
        sizes.process.wait()
        flags, arguments = [
            line.removeprefix("BASH_JAVA_UTILS_EXEC_RESULT:").split()
            for line in sizes.text().splitlines()
            if line.startswith("BASH_JAVA_UTILS_EXEC_RESULT:")
        ][-2:]
        runner = ["org.apache.flink.runtime.taskexecutor.TaskManagerRunner", "--configDir", "conf"]
        java, *rest = self._java
        self._start("taskmanager", [java, *flags, *rest, *runner, *arguments], self._rest)

    def kill(self, victim: Victim) -> None:
        """`kill -9` a part of the cluster under a running job, and wait until Flink has begun the job again.

        Args:
            victim: the TaskManager, after whose end another one is started; or a Python worker, the newest
                that Flink misses.

        Raises:
            AssertionError: there was nothing to kill, or the job went on as if nothing had happened.
        """
        workers = wait_for(self.python_workers, "a Python worker")
        before = self._restarted()
        if victim == "TaskManager":
            self._servers["taskmanager"].kill()
            self.start_task_manager()
        else:
            self._kill_workers(workers, before)
        wait_for(self._restarted, f"a job that begins again, its {victim} killed", lambda at: at > before)
        # The workers of the first attempt may write for a moment longer.
        wait_for(self.python_workers, f"workers other than {workers}", lambda now: not {*workers} & {*now})

    def _kill_workers(self, workers: list[int], before: int) -> None:
        """Kill one after the other until Flink misses one: some serve idle subtasks only."""
        for worker in reversed(workers):
            with suppress(ProcessLookupError):  # it has just been stopped
                os.kill(worker, signal.SIGKILL)
            if self._misses_a_worker(before):
                break

    def _misses_a_worker(self, before: int) -> bool:
        """Whether Flink begins the job again; it notices a lost worker within some seconds or never."""
        deadline = time.monotonic() + MISSED_SECONDS
        while time.monotonic() < deadline:
            if self._restarted() > before:
                return True
            time.sleep(0.1)
        return False

    def _restarted(self) -> int:
        """When the running job was begun again last, in milliseconds since the epoch; 0 for never."""

        def look() -> list[dict[str, int]]:
            jobs = self.rest("jobs").get("jobs", [])
            running = [job["id"] for job in jobs if job["status"] not in _ENDED]
            return [self.rest(f"jobs/{one}").get("timestamps", {}) for one in running]

        found = wait_for(look, "Flink to tell of a running job", any)
        return max(times.get("RESTARTING", 0) for times in found)

    def python_workers(self) -> list[int]:
        """The processes of the Python workers, the newest last."""
        return children(self._servers["workers"].process.pid)

    def log(self) -> str:
        """What the TaskManager and the Python workers have said."""
        return "".join(self._servers[name].text() for name in ("taskmanager", "workers"))

    def last_words(self) -> str:
        """The ends of all logs, for a test that has failed."""
        return tails(server.log for server in self._servers.values())

    def wait_for_slots(self) -> None:
        """Wait until all slots are free."""
        free = lambda: self.rest("overview").get("slots-available")
        wait_for(free, f"{SLOTS} free slots", lambda n: n == SLOTS)

    def cancel_jobs(self) -> None:
        """End the jobs that are left, so that the slots are free."""
        for job in self.rest("jobs").get("jobs", []):
            if job["status"] not in _ENDED:
                self.rest(f"jobs/{job['id']}?mode=cancel", "PATCH")
        self.wait_for_slots()

    def rest(self, path: str, method: str = "GET") -> dict[str, Any]:
        """Ask Flink's REST interface; an empty answer while it does not answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self._rest}/{path}", method=method)
        with suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
            found: dict[str, Any] = json.loads(answer.read() or b"{}")
            return found
        return {}

    @property
    def options(self) -> list[str]:
        """Beam's options for a pipeline on this cluster."""
        return [
            "--runner=PortableRunner",
            f"--job_endpoint=127.0.0.1:{self._job}",
            f"--artifact_endpoint=127.0.0.1:{self._artifacts}",
            "--environment_type=EXTERNAL",
            f"--environment_config=127.0.0.1:{self._pool}",
            f"--parallelism={SLOTS}",
            f"--sdk_worker_parallelism={SLOTS}",
            "--finish_bundle_before_checkpointing",
        ]

    def stop(self) -> None:
        """End everything."""
        for server in self._servers.values():
            server.kill()


@contextmanager
def flink() -> Iterator[FlinkCluster]:
    """Start a cluster on free ports of 127.0.0.1, and stop it and remove its files at the end."""
    folder = Path(tempfile.mkdtemp(prefix="millstream-flink-"))
    cluster = FlinkCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    with flink() as running:
        print("Apache Flink is ready until Ctrl-C; put behind `--` of a command:")
        print(" ".join(running.options), flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()
