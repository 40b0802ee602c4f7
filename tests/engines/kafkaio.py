"""Beam's expansion service on this machine, which gives Python pipelines the KafkaIO of Java."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from downloads import kafkaio_jars
from engines.processes import JAVA_FLAGS, Server
from patience import wait_for
from servers import free_ports

__all__ = ["kafkaio"]


@contextmanager
def kafkaio(*, external: bool) -> Iterator[str]:
    """Start the service on a free port of 127.0.0.1, with a worker for its Java steps; stop both at the end.

    Args:
        external: whether the runner asks for Java workers, as Flink does; else there is one, as Prism needs.

    Yields:
        Its address, for `ReadFromKafka(…, expansion_service=ADDRESS)`.
    """
    folder = Path(tempfile.mkdtemp(prefix="millstream-kafkaio-"))
    java = ["java", *JAVA_FLAGS, "--add-modules=jdk.net", "-Xmx1g", "-cp", f"{kafkaio_jars()}/*"]
    servers: list[Server] = []
    try:
        [port] = free_ports(1)
        worker = ["--alsoStartLoopbackWorker"]
        if external:
            address = _start_workers(java, folder, servers)
            worker = ["--defaultEnvironmentType=EXTERNAL", f"--defaultEnvironmentConfig={address}"]
        service = ["org.apache.beam.sdk.expansion.service.ExpansionService", str(port)]
        command = [*java, *service, "--javaClassLookupAllowlistFile=*", *worker]
        servers.append(Server("expansion", command, folder, port))
        servers[-1].wait()
        yield f"127.0.0.1:{port}"
    finally:
        for server in servers:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _start_workers(java: list[str], folder: Path, servers: list[Server]) -> str:
    """Start the pool of Java workers; its address, which its log alone tells."""
    pool = Server(
        "workers",
        [*java, "org.apache.beam.fn.harness.ExternalWorkerService"],
        folder,
        0,
        {"PIPELINE_OPTIONS": "{}"},
    )
    servers.append(pool)
    found: list[str] = []

    def listens() -> bool:
        found.extend(re.findall(r"localhost:(\d+)", pool.text()))
        return bool(found)

    wait_for(listens, "a pool of Java workers that listens", process=pool.process)
    return f"localhost:{found[0]}"
