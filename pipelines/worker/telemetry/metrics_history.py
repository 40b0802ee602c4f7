"""A worker's metrics over the last minutes: rates and quantiles between two looks at them, for a person."""

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
    """Looks at a registry again and again.

    Args:
        registry: prometheus_client's.
        keep: how many looks are remembered.
        window: over how many of the last looks rates and quantiles go.
        clock: gives seconds.
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
        self._looks: deque[tuple[float, _Samples]] = deque(maxlen=keep)

    def poll(self) -> None:
        """Take note of what the metrics are now."""
        samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
            for metric in self._registry.collect()
            for sample in metric.samples
        }
        self._looks.append((self._clock(), samples))

    def value(self, name: str, **labels: str) -> float:
        """The newest value of a sample, 0 where there is none."""
        return self._newest.get((name, tuple(sorted(labels.items()))), 0.0)

    def labelled(self, name: str) -> dict[Labels, float]:
        """The newest values of all samples of a name, by their labels."""
        return {labels: value for (one, labels), value in self._newest.items() if one == name}

    def rate(self, name: str) -> float:
        """How much a counter grew, per second, over the window."""
        looks = self._recent()
        return _rate(looks[0], looks[-1], name) if len(looks) > 1 else 0.0

    def rates(self, name: str, n: int) -> list[float]:
        """The last `n` rates of a counter, each from one look to the next one; fewer at the beginning."""
        looks = list(self._looks)[-n - 1 :]
        return [_rate(before, after, name) for before, after in pairwise(looks)]

    def quantiles(self, name: str, shares: tuple[float, ...]) -> list[float] | None:
        """Quantiles of what a histogram was told over the window, or None if that was nothing.

        A value is placed within its bucket as Prometheus' `histogram_quantile` does: linearly, and the last
        bucket at its lower bound.
        """
        looks = self._recent()
        if not looks:
            return None
        first = looks[0][1] if len(looks) > 1 else {}
        counts = _counts(name, looks[-1][1], first)
        if not counts or counts[-1][1] <= 0:
            return None
        return [_quantile(counts, share) for share in shares]

    def _recent(self) -> list[tuple[float, _Samples]]:
        return list(self._looks)[-self._window - 1 :]

    @property
    def _newest(self) -> _Samples:
        return self._looks[-1][1] if self._looks else {}


def _rate(before: tuple[float, _Samples], after: tuple[float, _Samples], name: str) -> float:
    seconds = after[0] - before[0]
    grown = after[1].get((name, ()), 0.0) - before[1].get((name, ()), 0.0)
    return grown / seconds if seconds > 0 else 0.0


def _counts(
    name: str, last: Mapping[tuple[str, Labels], float], first: _Samples
) -> list[tuple[float, float]]:
    """Upper bounds of buckets and how many values came at or below each, rising."""
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
