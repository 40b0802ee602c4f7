import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pipelines.worker.telemetry.metrics_history import MetricsHistory


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def history(registry):
    """Readings whose clock goes on by two seconds at each look."""
    ticks = iter(range(0, 10_000, 2))
    return MetricsHistory(registry, keep=100, window=3, clock=lambda: next(ticks))


def test_before_the_first_look_there_is_nothing(history):
    assert (history.value("a"), history.rate("a"), history.rates("a", 5)) == (0, 0, [])
    assert history.quantiles("a", (0.5,)) is None


def test_rates_are_per_second(history, registry):
    counter = Counter("a", "-", registry=registry)
    for grown in (0, 10, 20, 40, 80):
        counter.inc(grown)
        history.poll()
    assert history.value("a_total") == 150
    assert history.rates("a_total", 3) == [10, 20, 40]
    assert history.rate("a_total") == (20 + 40 + 80) / 6  # over the window of three


def test_values_by_their_labels(history, registry):
    gauge = Gauge("lag", "-", ["topic", "partition"], registry=registry)
    gauge.labels("t", "0").set(3)
    gauge.labels("t", "1").set(4)
    history.poll()
    assert history.labelled("lag") == {
        (("partition", "0"), ("topic", "t")): 3,
        (("partition", "1"), ("topic", "t")): 4,
    }
    assert history.value("lag", topic="t", partition="1") == 4
    gauge.clear()
    history.poll()
    assert history.labelled("lag") == {}


def test_quantiles_are_those_of_the_values_within_a_bucket(history, registry):
    edges = [k / 100 for k in range(1, 101)]
    histogram = Histogram("seconds", "-", buckets=edges, registry=registry)
    values = np.random.default_rng(1).beta(2, 5, 5000)
    for value in values:
        histogram.observe(value)
    history.poll()
    found = history.quantiles("seconds", (0.01, 0.5, 0.99))
    assert found == pytest.approx(np.quantile(values, (0.01, 0.5, 0.99)), abs=0.01)


def test_quantiles_forget_what_is_older_than_the_window(history, registry):
    histogram = Histogram("seconds", "-", buckets=(1, 2, 3), registry=registry)
    histogram.observe(0.5)
    history.poll()
    for _ in range(4):
        histogram.observe(2.5)
        history.poll()
    assert history.quantiles("seconds", (0.0, 1.0)) == [2.0, 3.0]
    for _ in range(5):
        history.poll()
    assert history.quantiles("seconds", (0.5,)) is None


def test_above_the_last_bound_only_the_bound_is_known(history, registry):
    histogram = Histogram("seconds", "-", buckets=(1, 2), registry=registry)
    histogram.observe(100)
    history.poll()
    assert history.quantiles("seconds", (0.5,)) == [2.0]
