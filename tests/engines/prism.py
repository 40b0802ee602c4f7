"""Prism, Beam's portable runner in Go, on this machine: `with prism() as options: …`, or `make prism`."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from downloads import prism as fetched_prism
from engines.processes import Server
from servers import free_ports

__all__ = ["prism"]


@contextmanager
def prism() -> Iterator[list[str]]:
    """Start Prism on a free port of 127.0.0.1 and stop it at the end.

    Yields:
        Beam's options for a pipeline on it.
    """
    program = fetched_prism()
    folder = Path(tempfile.mkdtemp(prefix="millstream-prism-"))
    server = None
    try:
        [port] = free_ports(1)
        command = [program, f"--job_port={port}", "--serve_http=false", "--log_level=warn"]
        server = Server("prism", command, folder, port)
        server.wait()
        yield [
            "--runner=PortableRunner",
            f"--job_endpoint=127.0.0.1:{port}",
            "--environment_type=LOOPBACK",
        ]
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    with prism() as options:
        print("Prism is ready until Ctrl-C; put behind `--` of a command:")
        print(" ".join(options), flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()
