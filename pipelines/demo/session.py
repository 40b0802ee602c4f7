"""What runs beside the demonstration's worker: a writer of payments, a reader of outputs, a clock."""

import threading
import time
from types import TracebackType
from typing import Self

import typer

from pipelines.demo.payments import PaymentWriter
from pipelines.demo.watcher import Watcher
from pipelines.worker.configuration.plan import Plan
from pipelines.worker.telemetry.metrics_history import MetricsHistory

__all__ = ["Session"]

_TURN = 0.25
_LINE_SECONDS = 2.0
_CATCH_UP_SECONDS = 10.0


class Session:
    """A context that writes payments and reads the outputs; `begin` starts the clock.

    Args:
        plan: of the worker.
        rate: payments a second.
        seconds: how long it runs, or None for until Ctrl-C.
    """

    def __init__(self, plan: Plan, *, rate: int, seconds: float | None) -> None:
        self._delivery = plan.settings.delivery
        self._seconds = seconds
        self._writer = PaymentWriter(plan.settings.brokers, plan.inputs[0], rate=rate)
        self._watcher = Watcher(
            plan.settings.brokers,
            plan.topics,
            plan.dead_letter_topic,
            form=plan.settings.format,
            dtype=plan.vectors.dtype,
        )
        self.extra = self._watcher.shown
        self._thread: threading.Thread | None = None
        self._history: MetricsHistory | None = None
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        self._writer.start()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None:
            self._writer.stop()
        else:
            self._stopping.set()  # a worker that ended by an error has not
            self._thread.join()
        self._watcher.stop(self._processed() if kind is None else 0)

    def begin(self, history: MetricsHistory, stopping: threading.Event, *, lines: bool) -> None:
        """Run until `stopping` is set, and set it when the time is over.

        Args:
            history: of the worker's metrics.
            stopping: of the worker.
            lines: whether to print progress.
        """
        self._history, self._stopping = history, stopping
        self._thread = threading.Thread(target=self._go, args=(stopping, lines), name="demo", daemon=True)
        self._thread.start()

    def _go(self, stopping: threading.Event, lines: bool) -> None:
        try:
            self._write(stopping, lines)
        finally:  # whatever happened, even where nobody reads the output any more: the worker ends
            stopping.set()

    def _write(self, stopping: threading.Event, lines: bool) -> None:
        begin = reported_at = time.monotonic()
        while not stopping.wait(_TURN):
            now = time.monotonic()
            if lines and now - reported_at >= _LINE_SECONDS:
                reported_at = now
                typer.echo(self._line())
            if self._seconds is not None and now - begin >= self._seconds:
                break
        self._writer.stop()
        deadline = time.monotonic() + _CATCH_UP_SECONDS
        while self._processed() < self._writer.written and time.monotonic() < deadline:
            if stopping.wait(_TURN):
                break

    def _processed(self) -> int:
        if self._history is None:
            return 0
        self._history.poll()
        return int(self._history.value("millstream_records_total"))

    def _line(self) -> str:
        processed = self._processed()
        history = self._history
        assert history is not None
        found = history.quantiles("millstream_latency_seconds", (0.5, 0.99))
        latency = (
            ""
            if found is None
            else f", committed after {1000 * found[0]:.0f} ms, 99 % {1000 * found[1]:.0f} ms"
        )
        dead = history.value("millstream_dead_letters_total")
        return (
            f"{history.rate('millstream_records_total'):,.0f} records/s, {processed:,} in all, "
            f"{dead:,.0f} dead letters{latency}"
        )

    def summary(self) -> str:
        """What happened."""
        return (
            f"{self._writer.written:,} payments were written, {self._writer.spoilt:,} of them broken; "
            f"readers found {self._watcher.records:,} records with vectors and {self._watcher.letters:,} "
            f"dead letters. Delivery was {self._delivery}: the broker inside this process has no "
            "transactions."
        )
