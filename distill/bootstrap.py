"""The bootstrap: how far a figure would move if other records of the same kind had been drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONFIDENCE", "ROUNDS", "Estimate", "bootstrap", "bootstrap_mean"]

CONFIDENCE = 0.95
"""The share of resamples that an interval holds."""

ROUNDS = 1000

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A figure and how sure it is.

    Attributes:
        value: the figure on all records.
        low: the lower end of its interval of `CONFIDENCE`.
        high: the upper end.
        n: the records, pairs or queries that it was measured on.
    """

    value: float
    low: float
    high: float
    n: int

    def scaled(self, factor: float) -> "Estimate":
        """The same in another unit, as of 100 instead of 1."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.n)


def bootstrap(statistic: Callable[[Rows], float], n: int, *, rounds: int = ROUNDS, seed: int = 0) -> Estimate:
    """Estimate a figure with its interval by the percentile bootstrap (Efron, 1979).

    The interval is about which records were drawn, and about nothing else: not about the seed of a training,
    for one.

    Args:
        statistic: the figure of some rows, `(n,)` int64, among which a row may stand several times; NaN where
            they have none, which is then left out.
        n: the number of rows.
        rounds: resamples.
        seed: of the drawing.
    """
    random = np.random.default_rng(seed)
    value = float(statistic(np.arange(n)))
    drawn = np.array([statistic(random.integers(n, size=n)) for _ in range(rounds)], np.float64)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Estimate(value, float("nan"), float("nan"), n)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high), n)


def bootstrap_mean(values: NDArray[Any], *, rounds: int = ROUNDS, seed: int = 0) -> Estimate:
    """Estimate the mean of one value a record, `(n,)`, as `bootstrap`."""
    numbers = np.asarray(values, np.float64)
    return bootstrap(lambda rows: float(numbers[rows].mean()), len(numbers), rounds=rounds, seed=seed)
