"""The bootstrap: how much a figure would vary with other records of the same kind."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONFIDENCE", "ROUNDS", "Estimate", "bootstrap", "bootstrap_error", "bootstrap_mean"]

CONFIDENCE = 0.95
"""The share of the resamples inside an interval."""

ROUNDS = 1000

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A figure with its confidence interval.

    Attributes:
        value: the figure on all records; `bootstrap_error` subtracts its bias.
        low: the lower end of the interval.
        high: the upper end of the interval.
        n: the number of records, pairs or queries.
    """

    value: float
    low: float
    high: float
    n: int

    def scaled(self, factor: float) -> "Estimate":
        """Convert the figure to another unit, such as percent."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.n)


def bootstrap(statistic: Callable[[Rows], float], n: int, *, rounds: int = ROUNDS, seed: int = 0) -> Estimate:
    """Estimate a figure and its interval by the percentile bootstrap (Efron, 1979).

    The interval covers the choice of records only, not other sources of variation such as a training seed.

    Args:
        statistic: computes the figure for some rows, `(n,)` int64, which may repeat; resamples for which it
            returns NaN are ignored.
        n: the number of rows.
        rounds: the number of resamples.
        seed: random seed.
    """
    value, drawn = _draw(statistic, n, rounds, seed)
    low, high = _ends(drawn)
    return Estimate(value, low, high, n)


def bootstrap_error(
    statistic: Callable[[Rows], float], n: int, *, rounds: int = ROUNDS, seed: int = 0
) -> Estimate:
    """Estimate a non-negative error that sampling noise biases upwards, such as a mean absolute difference.

    Resamples exceed the figure by about as much as the figure exceeds the truth, so this bias is subtracted
    (Efron and Tibshirani, 1993, chapter 10). The interval is the basic one (Davison and Hinkley, 1997,
    equation 5.6), the percentiles mirrored at the figure; nothing goes below 0. If the true error is 0, the
    bias is larger than the correction: the estimate is slightly above 0, and the interval contains 0 about
    half the time.

    Args:
        statistic: see `bootstrap`.
        n: the number of rows.
        rounds: the number of resamples.
        seed: random seed.
    """
    value, drawn = _draw(statistic, n, rounds, seed)
    low, high = _ends(drawn)
    mean = float(drawn.mean()) if len(drawn) else float("nan")
    without_bias, low, high = (float(np.maximum(2 * value - one, 0)) for one in (mean, high, low))
    return Estimate(without_bias, low, high, n)


def _draw(
    statistic: Callable[[Rows], float], n: int, rounds: int, seed: int
) -> tuple[float, NDArray[np.float64]]:
    """Return the figure of all rows and those of the resamples, without NaN."""
    random = np.random.default_rng(seed)
    value = float(statistic(np.arange(n)))
    drawn = np.array([statistic(random.integers(n, size=n)) for _ in range(rounds)], np.float64)
    return value, drawn[~np.isnan(drawn)]


def _ends(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """Return the percentiles that enclose `CONFIDENCE` of the figures."""
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def bootstrap_mean(values: NDArray[Any], *, rounds: int = ROUNDS, seed: int = 0) -> Estimate:
    """Estimate the mean of one value per record, `(n,)`, with `bootstrap`.

    A share, the mean of `(n,)` bool, has the score interval instead (Wilson, 1927): resamples of records that
    are all right are all right, too, and their interval would say that nothing can go wrong.
    """
    if values.dtype == np.bool_:
        return _share(int(values.sum()), len(values))
    numbers = np.asarray(values, np.float64)
    return bootstrap(lambda rows: float(numbers[rows].mean()), len(numbers), rounds=rounds, seed=seed)


def _share(hits: int, n: int) -> Estimate:
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    share = hits / n
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    shrunk = 1 + z * z / n
    middle = (share + z * z / (2 * n)) / shrunk
    half = z / shrunk * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return Estimate(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)), n)
