"""Running a worker as the work of a process: its logs, its signals, its endpoints and its watchdog."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.kafka.health import serve
from pipelines.kafka.logs import log_json
from pipelines.kafka.settings import WorkerSettings
from pipelines.kafka.start import collect_rarely, start
from pipelines.kafka.watchdog import watch

__all__ = ["log_as", "run"]


def log_as(form: str) -> None:
    """Log as `json` or as `text` from now on, on standard error."""
    level = logging.DEBUG if os.environ.get("MILLSTREAM_DEBUG") else logging.INFO
    if form == "json":
        log_json(level)
    else:
        logging.basicConfig(level=logging.WARNING, force=True, format="%(asctime)s %(levelname)s %(message)s")
        logging.getLogger("pipelines").setLevel(level)


def run(settings: WorkerSettings, *, listen: str | None, stuck_seconds: float) -> None:
    """Run a worker until a signal ends it.

    Args:
        settings: of the worker.
        listen: HOST:PORT of its endpoints, or None.
        stuck_seconds: after so long in one call the process ends.

    Raises:
        MillstreamError: this process cannot go on.
    """
    stopping = threading.Event()
    with _stopped_by_signals(stopping), start(settings, stopping) as started:
        if listen is not None:
            serve(listen, started.metrics, lambda: bool(started.inputs.positions.owned))
        collect_rarely()
        over = watch(lambda: started.metrics.last_turn, stopping, stuck_seconds)
        started.worker.run()
    over.set()


@contextmanager
def _stopped_by_signals(stopping: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT end the worker in order."""
    before = {
        number: signal.signal(number, lambda *_: stopping.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
