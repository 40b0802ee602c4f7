"""Server processes of an engine: started with a log of their own, killed with all that they started."""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from amounts import amount
from logs import tail
from patience import wait_for

__all__ = ["JAVA_FLAGS", "JAVA_SHORT_LIVED", "Server", "children"]

_OPENED = (
    *("lang", "util", "nio", "net", "util.concurrent", "util.concurrent.atomic", "util.concurrent.locks"),
    *("time", "text", "lang.reflect", "io"),
)
JAVA_SHORT_LIVED = ["-XX:+UseSerialGC", *amount(["-XX:TieredStopAtLevel=1"], [])]
"""Flags of every JVM of the tests: most end before the better compiler has paid."""

JAVA_FLAGS = [
    *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED),
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    *JAVA_SHORT_LIVED,
]
"""Flags of every JVM that runs Beam on Java 17."""


def children(pid: int) -> list[int]:
    """The processes that a process has started and that live, the newest last."""
    found = [
        (began, int(child))
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for child in task.read_text().split()
        if (began := _began(child)) is not None
    ]
    return [child for _, child in sorted(found)]


def _began(pid: str) -> int | None:
    """When a process began, in ticks of the system's clock; None if it has ended, waited for or not."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None
    return None if state in "ZX" else int(rest[18])


class Server:
    """A process that listens on a port of 127.0.0.1.

    Args:
        name: of its log in `folder`.
        command: to start it.
        folder: where it runs.
        port: where it listens when it is ready.
        environment: added to this process's.
        user: whose process it is, for programs that refuse to run as root.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        folder: Path,
        port: int,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self._name, self._port = name, port
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                list(map(str, command)),
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                user=user,
                start_new_session=True,  # so that `kill` reaches what it starts, and Ctrl-C does not
            )

    def wait(self) -> None:
        """Wait until it listens."""
        try:
            wait_for(self._listens, f"{self._name} on port {self._port}", process=self.process)
        except AssertionError as error:
            error.add_note(tail(self.log))
            raise

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self._port)) == 0

    def text(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """End it and all that it started, as a loss of power does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
