"""Beam metrics of embedding, in the namespace `millstream`, updated once a batch."""

from collections.abc import Mapping

from apache_beam.metrics import Metrics

__all__ = ["DAMAGED", "NAMESPACE", "BatchMetrics", "report_damage", "report_left_out"]

NAMESPACE = "millstream"

DAMAGED = "damaged_files"
"""The metric with the files that cannot be read to their end, each with the reason."""


def report_left_out(counts: Mapping[str, int]) -> None:
    """Count values of JSON fields that no column holds, in the metric `left_out_values`."""
    if counts:
        Metrics.counter(NAMESPACE, "left_out_values").inc(sum(counts.values()))


def report_damage(file: str, reason: str) -> None:
    """Name a file that cannot be read to its end in the metric `DAMAGED`."""
    Metrics.string_set(NAMESPACE, DAMAGED).add(reason if file in reason else f"{file}: {reason}")


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
        self._records = Metrics.counter(NAMESPACE, "records")
        self._bytes = Metrics.counter(NAMESPACE, "bytes")
        self._dead_letters = Metrics.counter(NAMESPACE, "dead_letters")
        self._tombstones = Metrics.counter(NAMESPACE, "tombstones")
        self._batch_size = Metrics.distribution(NAMESPACE, "batch_size")
        self._encode_us = Metrics.distribution(NAMESPACE, "encode_us")
        self._model_version = Metrics.string_set(NAMESPACE, "model_version")

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
