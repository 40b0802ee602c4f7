"""Real servers for the tests: `with seaweedfs() as s3: …`."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import obstore
import pytest
from filelock import FileLock, Timeout
from logs import tail
from obstore.store import S3Store
from patience import wait_for

__all__ = ["MissingProgram", "S3Server", "free_ports", "seaweedfs"]

GRPC_OFFSET = 10_000  # SeaweedFS opens a second port, this much higher, beside each one
LOWEST_PORT, CLIENTS = 10_000, 32_768  # from the second on, Linux gives ports to clients

_claims: list[FileLock] = []


@dataclass(frozen=True)
class S3Server:
    """A running S3 server: where it listens and how a client of it is configured."""

    port: int
    log: str
    bucket: str = "models"
    access_key: str = "testkey"
    secret_key: str = "testsecret"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point obstore and other clients at this server."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }

    def last_words(self) -> str:
        """The end of its log, for a test that has failed."""
        return tail(self.log)


class MissingProgram(pytest.skip.Exception):
    """A program that a test needs is not on this machine; the test is skipped, and says how to get it."""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 for this process alone, with the port `GRPC_OFFSET` above each one.

    They are free now, no other process of the tests is given them, and the system gives them to no client.
    """
    numbers = range(LOWEST_PORT + os.getpid() % 2_000, CLIENTS - GRPC_OFFSET)
    free = (port for port in numbers if _claim(port) and _claim(port + GRPC_OFFSET))
    ports = list(islice(free, count))
    if len(ports) < count:
        raise RuntimeError("no free ports")
    return ports


def _claim(port: int) -> bool:
    """Take a port until this process ends, if nobody has it."""
    lock = FileLock(Path(tempfile.gettempdir()) / f"millstream-port-{port}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    try:
        with socket.socket() as one:
            one.bind(("127.0.0.1", port))
    except OSError:
        lock.release()
        return False
    _claims.append(lock)
    return True


@contextmanager
def seaweedfs() -> Iterator[S3Server]:
    """Start SeaweedFS on free ports of 127.0.0.1 with an empty bucket, and stop it at the end.

    Raises:
        MissingProgram: it is not installed.
    """
    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        raise MissingProgram("SeaweedFS is not installed: pip install 'millstream[dev]'")
    folder = Path(tempfile.mkdtemp(prefix="millstream-weed-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server, process = _start(weed, folder)
        stack.callback(process.wait)
        stack.callback(process.kill)
        try:
            wait_for(lambda: _lists_its_bucket(server), "SeaweedFS", process=process)
        except AssertionError as error:
            error.add_note(server.last_words())
            raise
        yield server


def _start(weed: Path, folder: Path) -> tuple[S3Server, subprocess.Popen[bytes]]:
    s3, master, filer, volume, admin = free_ports(5)
    server = S3Server(port=s3, log=str(folder / "weed.log"))
    ports = {"s3": s3, "master": master, "filer": filer, "volume": volume, "admin": admin}
    arguments = [
        *(f"-{name}.port={port}" for name, port in ports.items()),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"),
        *(f"-dir={folder}", f"-bucket={server.bucket}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
    ]
    with Path(server.log).open("wb") as log:
        process = subprocess.Popen(
            [weed, "mini", *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **server.environment, "HOME": str(folder)},
            start_new_session=True,  # so that Ctrl-C reaches the tests first
        )
    return server, process


def _lists_its_bucket(server: S3Server) -> bool:
    """Whether the server is ready; before that it answers 404 or not at all."""
    store = S3Store(
        server.bucket,
        endpoint=server.environment["AWS_ENDPOINT_URL"],
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    with suppress(obstore.exceptions.BaseError):
        obstore.list(store).collect()
        return True
    return False
