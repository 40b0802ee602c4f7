"""A worker's metrics over the last minutes: rates and quantiles for the dashboard."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import pairwise

from prometheus_client import CollectorRegistry

__all__ = ["MetricsHistory"]

Labels = tuple[tuple[str, str], ...]
_Samples = dict[tuple[str, Labels], float]


class MetricsHistory:
    """Keeps samples of a registry.

    Args:
        registry: prometheus_client's.
        keep: the number of polls to keep.
        window: the number of polls that rates and quantiles span.
        clock: returns seconds.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        keep: int = 240,
        window: int = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._window = window
        self._polls: deque[tuple[float, _Samples]] = deque(maxlen=keep)

    def poll(self) -> None:
        """Sample the metrics now."""
        samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
            for metric in self._registry.collect()
            for sample in metric.samples
        }
        self._polls.append((self._clock(), samples))

    def value(self, name: str, **labels: str) -> float:
        """The newest value of a metric, 0 if there is none."""
        return self._newest.get((name, tuple(sorted(labels.items()))), 0.0)

    def labelled(self, name: str) -> dict[Labels, float]:
        """The newest values of a metric by their labels."""
        return {labels: value for (one, labels), value in self._newest.items() if one == name}

    def rate(self, name: str) -> float:
        """Growth of a counter per second over the window."""
        polls = self._recent()
        return _rate(polls[0], polls[-1], name) if len(polls) > 1 else 0.0

    def rates(self, name: str, n: int) -> list[float]:
        """The last `n` rates of a counter, from poll to poll; fewer at the start."""
        polls = list(self._polls)[-n - 1 :]
        return [_rate(before, after, name) for before, after in pairwise(polls)]

    def quantiles(self, name: str, shares: tuple[float, ...]) -> list[float] | None:
        """Quantiles of a histogram over the window, or None if it counted nothing.

        As Prometheus' `histogram_quantile`: linear within a bucket, and the lower bound of the last bucket.
        """
        polls = self._recent()
        if not polls:
            return None
        first = polls[0][1] if len(polls) > 1 else {}
        counts = _counts(name, polls[-1][1], first)
        if not counts or counts[-1][1] <= 0:
            return None
        return [_quantile(counts, share) for share in shares]

    def _recent(self) -> list[tuple[float, _Samples]]:
        return list(self._polls)[-self._window - 1 :]

    @property
    def _newest(self) -> _Samples:
        return self._polls[-1][1] if self._polls else {}


def _rate(before: tuple[float, _Samples], after: tuple[float, _Samples], name: str) -> float:
    seconds = after[0] - before[0]
    grown = after[1].get((name, ()), 0.0) - before[1].get((name, ()), 0.0)
    return grown / seconds if seconds > 0 else 0.0


def _counts(
    name: str, last: Mapping[tuple[str, Labels], float], first: _Samples
) -> list[tuple[float, float]]:
    """Upper bounds of buckets, ascending, and the number of values at or below each."""
    bucket = f"{name}_bucket"
    return sorted(
        (float(dict(labels)["le"]), value - first.get((one, labels), 0.0))
        for (one, labels), value in last.items()
        if one == bucket
    )


def _quantile(counts: list[tuple[float, float]], share: float) -> float:
    rank = share * counts[-1][1]
    low = below = 0.0
    for bound, count in counts:
        if count >= rank and count > 0:
            if math.isinf(bound):
                return low
            return low + (bound - low) * (rank - below) / max(count - below, 1e-9)
        low, below = bound, count
    return low
