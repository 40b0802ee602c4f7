"""What the metrics say from the start, when nothing has happened yet."""

import json

import pytest

from pipelines.kafka.metrics import WorkerMetrics


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
        (sample.labels["partition"], sample.value)
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "millstream_lag_records"
    ]
    assert lag == [("0", 7), ("1", 0)]
    assert metrics.registry.get_sample_value("millstream_assigned_partitions") == 2
    assert metrics.registry.get_sample_value("millstream_rebalances") == 3
