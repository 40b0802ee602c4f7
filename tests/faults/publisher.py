"""Publishers that run beside each other, and that are killed: a program for the tests.

    publisher.py each URI FOLDER WORKERS COUNT           every worker publishes COUNT versions
    publisher.py killed URI FOLDER WORKERS SECONDS SEED  workers publish without end and are killed at random

Each publication that a worker saw succeed is one line `NUMBER WRITE_ID` on standard output; the last line of
`killed` is `kills N`. The parent loads the libraries and forks, so that kills hit publications, not imports.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from encoder.store.store import ModelStore


def publish_forever(uri: str, folder: Path, count: int) -> None:
    """Publish models that differ in their card, so that every version has blobs of its own."""
    store = ModelStore.open(uri)
    own = Path(tempfile.mkdtemp()) / "model"
    shutil.copytree(folder, own)
    try:
        for number in range(count):
            (own / "README.md").write_text(f"{os.getpid()} {number} {time.time_ns()}\n" * 2000)
            manifest = store.publish(own)
            os.write(1, f"{manifest.version} {manifest.write_id}\n".encode())
    finally:
        shutil.rmtree(own.parent)


def start(uri: str, folder: Path, count: int) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            publish_forever(uri, folder, count)
            code = 0
        except BaseException as error:  # noqa: BLE001 - a fork must not run the parent's code
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(code)
    return pid


def each(uri: str, folder: Path, workers: int, count: int) -> int:
    pids = [start(uri, folder, count) for _ in range(workers)]
    return max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)


def killed(uri: str, folder: Path, workers: int, kills: int, seed: int) -> int:
    dice = random.Random(seed)
    pids = [start(uri, folder, sys.maxsize) for _ in range(workers)]
    failed = 0
    for _ in range(kills):
        time.sleep(dice.uniform(0.01, 0.12))
        victim = dice.randrange(workers)
        os.kill(pids[victim], signal.SIGKILL)
        failed += os.waitstatus_to_exitcode(os.waitpid(pids[victim], 0)[1]) != -signal.SIGKILL
        pids[victim] = start(uri, folder, sys.maxsize)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os.write(1, f"kills {kills}\n".encode())
    return failed


if __name__ == "__main__":
    mode, uri, folder, workers, *rest = sys.argv[1:]
    if mode == "each":
        sys.exit(each(uri, Path(folder), int(workers), int(rest[0])))
    sys.exit(killed(uri, Path(folder), int(workers), int(rest[0]), int(rest[1])))
