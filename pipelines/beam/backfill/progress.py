"""How far a backfill is, read from its output: it works for every runner, near or far."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from encoder.errors import MillstreamError
from pipelines.beam.backfill.job import BackfillJob, Counts
from pipelines.sinks.parquet import ParquetParts

__all__ = ["Watch"]


class Watch(AbstractContextManager["Watch"]):
    """Looks at the output now and then, and tells how much is there.

    Args:
        job: the job.
        tell: called with the counts so far, from a thread of its own.
        seconds: between two looks.
    """

    def __init__(self, job: BackfillJob, tell: Callable[[Counts], None], seconds: float = 0.5) -> None:
        self._parts = ParquetParts(job.output)
        self._tell = tell
        self._seconds = seconds
        self._seen: set[str] = set()
        self._counts = Counts()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def look(self) -> Counts:
        """Count the parts that came since the last look."""
        for name in self._parts.names():
            if name not in self._seen:
                self._counts += Counts.of_part(self._parts.metadata(name))
                self._seen.add(name)
        return self._counts

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._tell(self.look())
            except MillstreamError:
                continue  # a store that does not answer delays the progress line, not the job
