"""The progress of a backfill, read from its output: so it works with every runner, local or remote."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from encoder.errors import MillstreamError
from pipelines.beam.backfill.job import BackfillJob, Counts

__all__ = ["ProgressMonitor"]


class ProgressMonitor(AbstractContextManager["ProgressMonitor"]):
    """Polls the output while a job runs, and reports how much of it is there.

    Args:
        job: the job.
        report: called with the counts so far, in a separate thread.
        seconds: how often to poll.
    """

    def __init__(self, job: BackfillJob, report: Callable[[Counts], None], seconds: float = 0.5) -> None:
        self._parts = job.parts()
        self._report = report
        self._seconds = seconds
        self._seen: set[str] = set()
        self._counts = Counts()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def poll(self) -> Counts:
        """Add the parts that are new since the last poll; returns the counts so far."""
        for name in self._parts.names():
            if name not in self._seen:
                self._counts += Counts.of_part(self._parts.metadata(name))
                self._seen.add(name)
        return self._counts

    def __enter__(self) -> Self:
        """Start to poll."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop polling."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._report(self.poll())
            except MillstreamError:
                continue  # a store that does not answer delays the progress line, not the job
