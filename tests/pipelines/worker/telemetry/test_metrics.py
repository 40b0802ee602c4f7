"""What the metrics say from the start, when nothing has happened yet."""

import json
import time

import pytest

from pipelines.worker.telemetry.metrics import WorkerMetrics


@pytest.mark.parametrize("outcome", ["committed", "aborted", "refused"])
def test_every_outcome_of_a_commit_is_counted_from_zero(outcome):
    value = WorkerMetrics().registry.get_sample_value
    assert value("millstream_commits_total", {"outcome": outcome}) == 0


def test_memory_and_start_of_the_process_are_there():
    value = WorkerMetrics().registry.get_sample_value
    assert value("process_resident_memory_bytes") > 1 << 20
    assert value("process_start_time_seconds") > 0


def test_lag_is_that_of_the_partitions_that_are_read():
    metrics = WorkerMetrics()
    partitions = {
        "-1": {"fetch_state": "none"},
        "0": {"fetch_state": "active", "consumer_lag": 7},
        "1": {"fetch_state": "active", "consumer_lag": -1},
        "2": {"fetch_state": "stopped", "consumer_lag": 9},
    }
    metrics.on_statistics(
        json.dumps({"cgrp": {"rebalance_cnt": 3}, "topics": {"in": {"partitions": partitions}}})
    )
    lag = [
        (sample.labels["topic"], sample.labels["partition"], sample.value)
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "millstream_lag_records"
    ]
    assert lag == [("in", "0", 7), ("in", "1", 0)]
    assert metrics.registry.get_sample_value("millstream_assigned_partitions") == 2
    assert metrics.registry.get_sample_value("millstream_rebalances") == 3


def test_a_batch_is_in_every_metric_that_it_concerns():
    metrics = WorkerMetrics()
    metrics.encoded(500, 90_000, 0.004)
    metrics.dead(3, "not JSON")
    metrics.ungrouped("event", 0)
    metrics.ungrouped("event", 4)
    metrics.waiting(2, 1000)
    metrics.committed(500, 0.02, time.time() - 1.5)
    value = metrics.registry.get_sample_value
    assert value("millstream_records_total") == 500
    assert value("millstream_bytes_total") == 90_000
    assert value("millstream_batch_records_sum") == 500
    assert value("millstream_encode_seconds_sum") == pytest.approx(0.004)
    assert value("millstream_commit_seconds_sum") == pytest.approx(0.02)
    assert value("millstream_latency_seconds_sum") == pytest.approx(1.5, abs=0.5)
    assert value("millstream_dead_letters_total") == 3
    assert value("millstream_ungrouped_records_total", {"head": "event"}) == 4
    assert (value("millstream_held_partitions"), value("millstream_waiting_bytes")) == (2, 1000)
    assert metrics.last_reason == "not JSON"


def test_a_commit_without_records_says_nothing_of_latency():
    metrics = WorkerMetrics()
    metrics.committed(0, 0.02, 0.0)
    value = metrics.registry.get_sample_value
    assert (value("millstream_latency_seconds_count"), value("millstream_commit_seconds_count")) == (0, 1)
