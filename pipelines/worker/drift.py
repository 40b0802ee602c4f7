"""Drift of what a worker reads: each window is logged, measured, and its most unusual records are named."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from encoder import Encoder
from encoder.errors import ConfigurationError
from pipelines.enrich.drift import DriftWindow
from pipelines.enrich.drift_sums import measured_baseline
from pipelines.enrich.enrichment import EnrichedBatch
from pipelines.enrich.model_follower import FollowedModel
from pipelines.records.template import TextTemplate
from pipelines.worker.message_batch import MessageBatch
from pipelines.worker.offsets import PartitionIndex
from pipelines.worker.telemetry.metrics import WorkerMetrics

__all__ = ["DriftOutput", "DriftWatch", "JsonLines"]

_log = logging.getLogger(__name__)


class DriftOutput(Protocol):
    """Where the drift of each window is written, with its most unusual records."""

    def __call__(self, value: bytes) -> None:
        """Write a JSON object."""


class JsonLines:
    """A file of JSON lines; a line is written at once."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("ab"):
                pass
        except OSError as error:
            raise ConfigurationError(f"cannot write --drift-output file:{path}: {error.strerror}") from error
        self._path = path

    def __call__(self, value: bytes) -> None:
        """Write a line; that it cannot be written stops no worker."""
        try:
            with self._path.open("ab", buffering=0) as file:
                file.write(value + b"\n")
        except OSError as error:
            _log.warning("cannot write the drift of a window to %s: %s", self._path, error)


class DriftWatch:
    """Holds windows of records against the baseline of the model's version, if it has one.

    Args:
        template: the text of a record.
        seconds: how long a window is at least.
        least_records: how many measured records it has at least.
        metrics: what operators see.
        partitions: the names of partitions.
        output: where windows are written, or None.
        clock: gives seconds.
    """

    def __init__(
        self,
        template: TextTemplate,
        *,
        seconds: float,
        least_records: int,
        metrics: WorkerMetrics,
        partitions: PartitionIndex,
        output: DriftOutput | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._template = template
        self._seconds = seconds
        self._least_records = least_records
        self._metrics = metrics
        self._partitions = partitions
        self._output = output
        self._clock = clock
        self._encoder: Encoder | None = None
        self._window: DriftWindow | None = None
        self._label = ""
        self._began = clock()

    def add(self, model: FollowedModel, messages: MessageBatch, enriched: EnrichedBatch) -> None:
        """Measure a sample of a batch, and end the window if it is complete."""
        if model.encoder is not self._encoder:
            self._follow(model)
        if self._window is None or enriched.texts is None:
            return
        rows = enriched.rows

        def place(i: int) -> tuple[int, int]:
            return int(messages.partitions[rows[i]]), int(messages.offsets[rows[i]])

        try:
            self._window.add(enriched.texts, place)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a text, the worker goes on
            name = type(error).__name__  # its message may hold the text
            _log.warning(
                "%s: a record cannot be measured (%s): no drift until the next model", self._label, name
            )
            self._forget()
            return
        if self._clock() - self._began >= self._seconds and self._window.sums.records >= self._least_records:
            self._end(self._window)

    def _follow(self, model: FollowedModel) -> None:
        """Begin anew with the baseline of another version."""
        self._encoder, self._label = model.encoder, model.label
        self._forget()
        baseline = measured_baseline(model.encoder.heads.heads, model.label, _log)
        if baseline is not None:
            self._window = DriftWindow(model.encoder, baseline, self._template)
        self._began = self._clock()

    def _forget(self) -> None:
        """No window any more: what the last one was like says nothing of what comes."""
        self._window = None
        self._metrics.forget_drift()

    def _end(self, window: DriftWindow) -> None:
        found, now = window.drift(), self._clock()
        self._metrics.drifted(found)
        found.log(_log, now - self._began, self._label)
        if self._output is not None:
            report = found.report(self._began, now, self._label, self._place)
            self._output(msgspec.json.encode(report))
        window.begin()
        self._began = now

    def _place(self, place: tuple[int, int]) -> dict[str, Any]:
        """Where a record is, for a reader."""
        name = self._partitions[place[0]]
        return {"topic": name.topic, "partition": name.partition, "offset": place[1]}
