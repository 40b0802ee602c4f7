"""Beam metrics of embedding, in the namespace `millstream`, updated once a batch."""

from collections.abc import Mapping

from apache_beam.metrics import Metrics

__all__ = ["DAMAGED", "BatchMetrics", "report_damage", "report_left_out"]

_NAMESPACE = "millstream"

DAMAGED = "millstream.damaged_files"
"""The namespace of a counter for each file that cannot be read to its end: its name is the file and why."""


def report_left_out(counts: Mapping[str, int]) -> None:
    """Count values of JSON fields that no column holds, in the metric `left_out_values`."""
    if counts:
        Metrics.counter(_NAMESPACE, "left_out_values").inc(sum(counts.values()))


def report_damage(file: str, reason: str) -> None:
    """Name a file that cannot be read to its end in a counter: Beam's local runner loses parts of sets."""
    Metrics.counter(DAMAGED, reason if file in reason else f"{file}: {reason}").inc()


class BatchMetrics:
    """The metrics of a DoFn that embeds batches.

    Attributes:
        names: the names of the metrics. `records` and `dead_letters` count rows, `bytes` counts the size of
            incoming batches; `batch_size` (rows) and `encode_us` (microseconds) are distributions;
            `model_version` is the set of labels of the models in use. Deletes are counted in `tombstones`
            alone, once there is one.
    """

    names = ("records", "bytes", "dead_letters", "batch_size", "encode_us", "model_version")

    def __init__(self) -> None:
        self._records = Metrics.counter(_NAMESPACE, "records")
        self._bytes = Metrics.counter(_NAMESPACE, "bytes")
        self._dead_letters = Metrics.counter(_NAMESPACE, "dead_letters")
        self._tombstones = Metrics.counter(_NAMESPACE, "tombstones")
        self._batch_size = Metrics.distribution(_NAMESPACE, "batch_size")
        self._encode_us = Metrics.distribution(_NAMESPACE, "encode_us")
        self._model_version = Metrics.string_set(_NAMESPACE, "model_version")

    def report(self, label: str, n_records: int, n_bad: int, n_bytes: int, seconds: float) -> None:
        """Report a batch.

        Args:
            label: the model's label.
            n_records: incoming rows, including the bad ones.
            n_bad: bad rows.
            n_bytes: the size of the incoming batch.
            seconds: how long it took.
        """
        self._records.inc(n_records)
        self._bytes.inc(n_bytes)
        self._dead_letters.inc(n_bad)
        self._batch_size.update(n_records)
        self._encode_us.update(round(1e6 * seconds))
        self._model_version.add(label)

    def tombstones(self, n_deletes: int) -> None:
        """Count the deletes of a batch."""
        if n_deletes:
            self._tombstones.inc(n_deletes)
