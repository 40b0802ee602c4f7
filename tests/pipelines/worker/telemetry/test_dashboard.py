"""The view as a person sees it: whole screens, as text."""

import json
import re

import pytest
from rich.console import Console
from rich.text import Text

from pipelines.worker.telemetry.dashboard import Dashboard, WorkerStatus, duration_text, sparkline
from pipelines.worker.telemetry.metrics import WorkerMetrics
from pipelines.worker.telemetry.metrics_history import MetricsHistory

NOW = 1_700_000_000.0


@pytest.fixture
def metrics():
    return WorkerMetrics()


@pytest.fixture
def screen(metrics):
    """What is on a screen after two looks, a second apart; `between` is what happens between them."""

    def draw(width=80, height=24, between=lambda: None, **watched):
        seconds = iter(range(100))
        told = {
            "title": "enrich: payments",
            "model": lambda: "minilm@7",
            "last_reason": lambda: metrics.last_reason,
            "log": list,
            **watched,
        }
        view = Dashboard(
            MetricsHistory(metrics.registry, clock=lambda: next(seconds)),
            WorkerStatus(**told),
            clock=lambda: NOW,
        )
        console = Console(width=width, height=height, force_terminal=True, color_system=None)
        console.render_lines(view)
        between()
        lines = console.render_lines(view)
        text = ["".join(segment.text for segment in line) for line in lines]
        assert len(text) == height
        assert {len(line) for line in text} == {width}
        return "\n".join(line.rstrip() for line in text)

    return draw


def lag(metrics, lags):
    partitions = {n: {"fetch_state": "active", "consumer_lag": one} for n, one in lags.items()}
    metrics.on_statistics(json.dumps({"topics": {"payments": {"partitions": partitions}}}))


def test_before_the_first_record(screen):
    text = screen()
    assert "0 a second" in text
    assert "waiting for partitions" in text
    assert "newest dead letter" not in text


def test_records_latency_and_commits(screen, metrics):
    def work():
        metrics.encoded(3000, 3 << 20, 0.002)
        metrics.committed(3000, 0.004, 0.0)
        metrics.transactions.labels("committed").inc()

    text = screen(between=work)
    assert "3,000 a second" in text
    assert "3.00 MiB/s in batches of 3,000" in text
    assert re.search(r"encoding a batch +1\.8 ms +2\.5 ms", text)
    assert "minilm@7" in text
    assert "commits 1" in text
    assert "void" not in text


def test_what_is_wrong_is_said(screen, metrics):
    metrics.encoded(200, 1, 0.1)
    metrics.dead(3, "not JSON: truncated")
    metrics.transactions.labels("aborted").inc(2)
    metrics.waiting(4, 300 << 20)
    text = screen(log=lambda: ["12:00:00 warning a line"])
    assert "newest dead letter: not JSON: truncated" in text
    assert "dead    3 (1.50%)" in text
    assert "commits 0, 2 void" in text
    assert "held    4 partitions, 300 MiB" in text
    assert "12:00:00 warning a line" in text


def test_of_many_partitions_the_furthest_behind_are_shown(screen, metrics):
    lag(metrics, {number: 10 * number for number in range(40)})
    text = screen()
    assert "7,800 in all" in text
    assert [line for line in text.splitlines() if " 39       390" in line]
    assert "and 35 more: 5,950" in text
    lag(metrics, {0: 5, 1: 7})
    first, second = [line for line in screen().splitlines() if " 5 " in line or " 7 " in line]
    assert first.index("5") == second.index("7")


@pytest.mark.parametrize(("width", "height"), [(60, 20), (80, 24), (200, 60), (40, 10)])
def test_every_size_is_filled_and_not_overflown(width, height, screen, metrics):
    metrics.dead(1, "x" * 500)
    lines = [Text(f"line {k} {'y' * 300}") for k in range(5)]
    text = screen(width, height, extra=lambda: ("more", lines), log=lambda: ["z" * 500] * 50)
    assert "records" in text
    if height >= 20:
        assert "line 0" in text


def test_a_sparkline_ends_with_the_newest_value():
    assert sparkline([0, 1, 2, 4], 6) == "  ▁▃▅█"
    assert sparkline([5, 5, 8], 2) == "▆█"
    assert sparkline([], 5) == sparkline([0, 0], 5) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 s"), (200, "3 min"), (7500, "2 h 5 min"), (360_000, "4 d"), (-1, "0 s")]
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text
