"""Beam's expansion service on this machine, which gives Python pipelines the KafkaIO of Java."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.downloads import maven_jars
from engines.processes import JAVA_FLAGS, Server
from filelock import FileLock
from servers import free_ports

__all__ = ["kafkaio"]

ROOT = Path(__file__).parents[2]


@contextmanager
def kafkaio() -> Iterator[str]:
    """Start the service with a worker for its Java steps on a free port of 127.0.0.1; stop it at the end.

    Yields:
        Its address, for `ReadFromKafka(…, expansion_service=ADDRESS)`.
    """
    jars = maven_jars("kafkaio-2.73.0", ROOT / "deploy/kafkaio/pom.xml")
    folder = Path(tempfile.mkdtemp(prefix="millstream-kafkaio-"))
    server = None
    try:
        with FileLock(Path(tempfile.gettempdir()) / "millstream-kafkaio.lock"):  # or two take the same port
            [port] = free_ports(1)
            java = ["java", *JAVA_FLAGS, "--add-modules=jdk.net", "-Xmx1g", "-cp", f"{jars}/*"]
            service = "org.apache.beam.sdk.expansion.service.ExpansionService"
            arguments = [str(port), "--javaClassLookupAllowlistFile=*", "--alsoStartLoopbackWorker"]
            server = Server("expansion", [*java, service, *arguments], folder, port)
            server.wait()
        yield f"127.0.0.1:{port}"
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)
