"""Apache Spark on this machine: a standalone cluster of a master and two workers with a core each."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from downloads import spark as spark_packages
from engines.processes import JAVA_SHORT_LIVED, Server
from logs import tails
from patience import wait_for
from servers import free_ports

__all__ = ["SparkCluster", "spark_cluster"]

ROOT = Path(__file__).parents[2]
WORKERS = 2


@dataclass(frozen=True)
class SparkCluster:
    """A running cluster.

    Attributes:
        master: its address, `spark://HOST:PORT`.
        packages: a folder for the `PYTHONPATH` of drivers.
        folder: where its logs are, and below `work` those of the executors.
    """

    master: str
    packages: str
    folder: str

    def environment(self) -> dict[str, str]:
        """Variables of a driver, a program of this environment's Python."""
        path = os.pathsep.join([str(ROOT), self.packages])
        return {
            "PYTHONPATH": path,
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_MASTER": self.master,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "JAVA_TOOL_OPTIONS": " ".join(JAVA_SHORT_LIVED),
        }

    def last_words(self) -> str:
        """The ends of all logs, for a test that has failed."""
        folder = Path(self.folder)
        return tails([*folder.glob("*.log"), *folder.glob("work/*/*/stderr")])


@contextmanager
def spark_cluster() -> Iterator[SparkCluster]:
    """Start a cluster on free ports of 127.0.0.1, whose executors share a cache; stop it at the end."""
    packages = spark_packages()
    folder = Path(tempfile.mkdtemp(prefix="millstream-spark-"))
    port, *pages = free_ports(2 + WORKERS)
    cluster = SparkCluster(f"spark://127.0.0.1:{port}", str(packages), str(folder))
    program = packages / "pyspark/bin/spark-class"
    environment = {
        **cluster.environment(),
        "SPARK_HOME": str(packages / "pyspark"),
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false",
        "MILLSTREAM_CACHE": str(folder / "cache"),
    }
    servers: list[Server] = []
    try:
        master = ["org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", str(port)]
        command = [program, *master, "--webui-port", str(pages[0])]
        servers.append(Server("master", command, folder, port, environment))
        servers[0].wait()
        for k, page in enumerate(pages[1:]):
            worker = ["org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1", "--cores", "1"]
            own = ["--memory", "1g", "--webui-port", str(page), "--work-dir", str(folder / "work" / str(k))]
            command = [program, *worker, *own, cluster.master]
            servers.append(Server(f"worker{k}", command, folder, page, environment))
        registered = lambda: servers[0].text().count("Registering worker")
        wait_for(registered, f"{WORKERS} workers of Spark", lambda n: n == WORKERS)
        yield cluster
    finally:
        for server in servers:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)
