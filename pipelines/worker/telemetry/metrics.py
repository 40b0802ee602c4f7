"""The worker's metrics for Prometheus."""

import time
from collections.abc import Callable
from typing import Any, get_args

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from pipelines.enrich import Tombstones
from pipelines.enrich.drift_sums import WindowDrift
from pipelines.enrich.model_follower import ModelFollower

__all__ = ["WorkerMetrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 10, 30, 100, 300, 1000)


class WorkerMetrics:
    """The metrics of one worker, in a registry of its own.

    Attributes:
        registry: prometheus_client's.
        last_turn: when the loop last ran, in seconds of the monotonic clock.
        last_reason: why the newest dead letter failed; empty before the first one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self.last_turn = clock()
        self.last_reason = ""
        ProcessCollector(registry=self.registry)  # memory, CPU time, open files: process_*
        about: dict[str, Any] = {"namespace": "millstream", "registry": self.registry}
        self._records = Counter("records", "Messages processed.", **about)
        self._bytes = Counter("bytes", "Bytes of their values.", **about)
        self._sizes = Histogram("batch_records", "Messages in a batch.", buckets=_SIZES, **about)
        self._encode = Histogram(
            "encode_seconds", "Time to decode and embed a batch.", buckets=_SECONDS, **about
        )
        self._commit = Histogram("commit_seconds", "Time of a commit.", buckets=_SECONDS, **about)
        self._latency = Histogram(
            "latency_seconds",
            "Time from a message's timestamp to its commit, for the oldest message of each commit.",
            buckets=_SECONDS,
            **about,
        )
        self._dead_letters = Counter("dead_letters", "Records that could not be enriched.", **about)
        self._ungrouped = Counter(
            "ungrouped_records", "Records whose kind a head of groups has not seen.", ["head"], **about
        )
        self._tombstones = Counter(
            "tombstones", "Deletes (a key without a value) by what became of them.", ["outcome"], **about
        )
        for outcome in get_args(Tombstones):
            self._tombstones.labels(outcome)
        self.transactions = Counter("commits", "Commits by outcome.", ["outcome"], **about)
        for outcome in ("committed", "aborted", "refused"):
            self.transactions.labels(outcome)  # start at 0, so that rates count the first one
        self.skipped = Counter(
            "skipped_offsets",
            "Offsets that are never read: retention removed them, or reading began behind them (latest).",
            ["reason"],
            **about,
        )
        for reason in ("retention", "latest"):
            self.skipped.labels(reason)
        self._left_out = Gauge(
            "left_out_values", "Values of fields that no column of the output holds.", **about
        )
        self._held = Gauge("held_partitions", "Partitions paused for a slow output.", **about)
        self._waiting = Gauge("waiting_bytes", "Bytes of records that wait for Parquet outputs.", **about)
        self._lag = Gauge(
            "lag_records", "Messages that are not processed yet.", ["topic", "partition"], **about
        )
        self._assigned = Gauge("assigned_partitions", "Partitions of this worker.", **about)
        self._rebalances = Gauge("rebalances", "Rebalances of the group.", **about)
        self._version = Gauge("model_version", "Number of the model's version, 0 for a folder.", **about)
        self._age = Gauge("model_loaded_timestamp_seconds", "When the model was loaded.", **about)
        self._expires = Gauge(
            "model_expires_timestamp_seconds",
            "When a newer version of the model must have come, 0 for never.",
            **about,
        )
        self._drift = Gauge(
            "drift",
            "Distance of the last window from the model's baseline; one in a thousand windows exceeds 1.",
            **about,
        )
        self._drift_windows = Counter("drift_windows", "Windows compared with the baseline.", **about)
        self._unknown = Gauge(
            "unknown_token_ratio",
            "Share of tokens in the last window that the model lacks.",
            **about,
        )
        self._unusual = Gauge(
            "unusual_record_ratio",
            "Share of records in the last window that no group of the baseline is near to.",
            **about,
        )
        self._label_shift = Gauge(
            "label_shift",
            "Half of the sum of what the shares of a head's labels changed by, in the last window.",
            ["head"],
            **about,
        )
        self._refused = Gauge("model_versions_refused", "Model versions that could not be used.", **about)
        self._unanswered = Gauge(
            "model_store_unanswered", "How often the model store did not answer.", **about
        )

    def alive(self) -> None:
        """Record that the loop runs."""
        self.last_turn = self._clock()

    def encoded(self, n_records: int, n_bytes: int, seconds: float) -> None:
        """Count a batch that was decoded and embedded."""
        self._records.inc(n_records)
        self._bytes.inc(n_bytes)
        self._sizes.observe(n_records)
        self._encode.observe(seconds)

    def dead(self, n_letters: int, reason: str) -> None:
        """Count dead letters; `reason` is that of the last one."""
        self._dead_letters.inc(n_letters)
        self.last_reason = reason

    def ungrouped(self, head: str, n_records: int) -> None:
        """Count records that are in no group of a head; none too, so that its rate begins at 0."""
        self._ungrouped.labels(head).inc(n_records)

    def deleted(self, n_deletes: int, outcome: Tombstones) -> None:
        """Count deletes; they are not among the dead letters."""
        if n_deletes:
            self._tombstones.labels(outcome).inc(n_deletes)

    def drifted(self, window: WindowDrift) -> None:
        """Set what the last window was like."""
        self._drift.set(window.shift.drift)
        self._drift_windows.inc()
        self._unknown.set(window.unknown)
        self._unusual.set(window.unusual)
        self._label_shift.clear()
        for head, shift in window.labels.items():
            self._label_shift.labels(head).set(shift)

    def forget_drift(self) -> None:
        """There is no last window any more."""
        for gauge in (self._drift, self._unknown, self._unusual):
            gauge.set(0)
        self._label_shift.clear()

    def waiting(self, n_held: int, n_bytes: int) -> None:
        """Set the number of paused partitions and the bytes that wait for slow outputs."""
        self._held.set(n_held)
        self._waiting.set(n_bytes)

    def committed(self, n_records: int, seconds: float, oldest: float) -> None:
        """Count a commit; `oldest` is the timestamp of its oldest record in seconds since the epoch, or 0."""
        self._commit.observe(seconds)
        if n_records and oldest > 0:
            self._latency.observe(max(0.0, time.time() - oldest))

    def count_left_out(self, n_values: Callable[[], int]) -> None:
        """Report how many values are of fields that no column holds."""
        self._left_out.set_function(n_values)

    def follow(self, follower: ModelFollower) -> None:
        """Report the model of a follower."""
        self._version.set_function(lambda: follower.current().version)
        self._age.set_function(lambda: follower.current().since)
        self._expires.set_function(lambda: follower.current().expires)
        self._refused.set_function(lambda: follower.refused)
        self._unanswered.set_function(lambda: follower.unanswered)

    def on_statistics(self, text: str) -> None:
        """Librdkafka's statistics callback."""
        statistics = msgspec.json.decode(text)
        self._rebalances.set(statistics.get("cgrp", {}).get("rebalance_cnt", 0))
        self._lag.clear()
        n_assigned = 0
        for name, topic in statistics.get("topics", {}).items():
            for number, partition in topic["partitions"].items():
                if partition.get("fetch_state") not in (None, "none", "stopping", "stopped"):
                    n_assigned += 1
                    self._lag.labels(name, number).set(max(0, partition.get("consumer_lag", 0)))
        self._assigned.set(n_assigned)
