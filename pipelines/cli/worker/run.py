"""A worker as a process: logs, signals, endpoints, dashboard, watchdog."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from pipelines.worker.build import Started, collect_rarely, start
from pipelines.worker.configuration.plan import Plan
from pipelines.worker.telemetry.dashboard import Dashboard, WorkerStatus
from pipelines.worker.telemetry.http import serve
from pipelines.worker.telemetry.logs import log_json
from pipelines.worker.telemetry.metrics_history import MetricsHistory
from pipelines.worker.telemetry.terminal import (
    LogLines,
    logged_beside,
    need_terminal,
    on_screen,
    restore_and_exit,
)
from pipelines.worker.telemetry.watchdog import watch

if TYPE_CHECKING:
    from pipelines.demo.session import Session

__all__ = ["log_as", "run"]


def log_as(form: str) -> None:
    """Log as `json` or `text` on standard error from now on."""
    level = logging.DEBUG if os.environ.get("MILLSTREAM_DEBUG") else logging.INFO
    if form == "json":
        log_json(level)
    else:
        logging.basicConfig(level=logging.WARNING, force=True, format="%(asctime)s %(levelname)s %(message)s")
        logging.getLogger("pipelines").setLevel(level)


def run(plan: Plan, *, ui: bool = False, session: "Session | None" = None) -> None:
    """Run a worker until a signal stops it.

    Args:
        plan: what the worker does.
        ui: whether to show the dashboard on this terminal.
        session: a demonstration that runs beside the worker.

    Raises:
        ConfigurationError: the dashboard has no terminal.
        MillstreamError: this process cannot go on.
    """
    console = need_terminal("--ui") if ui else None
    stopping = threading.Event()
    with (
        nullcontext() if console is None else logged_beside() as log,
        _stopped_by_signals(stopping),
        start(plan, stopping) as started,
    ):
        if plan.settings.listen is not None:
            serve(plan.settings.listen, started.metrics, lambda: bool(started.source.positions.owned))
        collect_rarely()
        history = MetricsHistory(started.metrics.registry)
        end = os._exit if console is None else restore_and_exit
        over = watch(lambda: started.metrics.last_turn, stopping, plan.settings.stuck_seconds, end=end)
        if session is not None:
            session.begin(history, stopping, lines=console is None)
        if console is None or log is None:
            started.worker.run()
        else:
            with on_screen(console, Dashboard(history, _watched(plan, started, log, session))):
                started.worker.run()
    over.set()


def _watched(plan: Plan, started: Started, log: LogLines, session: "Session | None") -> WorkerStatus:
    outputs = ", ".join(output.target for output in plan.outputs)
    return WorkerStatus(
        title=f"{plan.settings.group}: {plan.input_names} ▶ {outputs}, {plan.settings.delivery}",
        model=lambda: started.follower.current().label,
        last_reason=lambda: started.metrics.last_reason,
        log=lambda: list(log.lines),
        extra=None if session is None else session.extra,
    )


@contextmanager
def _stopped_by_signals(stopping: threading.Event) -> Iterator[None]:
    """Make SIGTERM and SIGINT stop the worker cleanly."""
    before = {
        number: signal.signal(number, lambda *_: stopping.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
