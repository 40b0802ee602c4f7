"""The bootstrap: how far a figure would move if other records of the same kind had been drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONFIDENCE", "ROUNDS", "Estimate", "bootstrap", "bootstrap_error", "bootstrap_mean"]

CONFIDENCE = 0.95
"""The share of resamples that an interval holds."""

ROUNDS = 1000

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A figure and how sure it is.

    Attributes:
        value: the figure on all records; of `bootstrap_error`, without its bias.
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
    value, drawn = _draw(statistic, n, rounds, seed)
    low, high = _ends(drawn)
    return Estimate(value, low, high, n)


def bootstrap_error(
    statistic: Callable[[Rows], float], n: int, *, rounds: int = ROUNDS, seed: int = 0
) -> Estimate:
    """Estimate an error that chance alone makes larger, 0 at best, as a mean of absolute differences is.

    Resamples are larger than the records' own figure by about as much as this is larger than the truth. So
    that much is taken off the figure (Efron and Tibshirani, 1993, chapter 10), and the interval is the basic
    one (Davison and Hinkley, 1997, equation 5.6): the percentiles, mirrored at the records' figure. Nothing
    is below 0. Where the truth is 0, the bias is larger than what is taken off: such an error is still shown
    as a little above 0, and its interval holds 0 in about half of the cases.

    Args:
        statistic: as for `bootstrap`.
        n: as for `bootstrap`.
        rounds: as for `bootstrap`.
        seed: as for `bootstrap`.
    """
    value, drawn = _draw(statistic, n, rounds, seed)
    low, high = _ends(drawn)
    mean = float(drawn.mean()) if len(drawn) else float("nan")
    without_bias, low, high = (float(np.maximum(2 * value - one, 0)) for one in (mean, high, low))
    return Estimate(without_bias, low, high, n)


def _draw(
    statistic: Callable[[Rows], float], n: int, rounds: int, seed: int
) -> tuple[float, NDArray[np.float64]]:
    """The figure of all rows, and those of resamples that have one."""
    random = np.random.default_rng(seed)
    value = float(statistic(np.arange(n)))
    drawn = np.array([statistic(random.integers(n, size=n)) for _ in range(rounds)], np.float64)
    return value, drawn[~np.isnan(drawn)]


def _ends(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """What `CONFIDENCE` of the figures lie between."""
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def bootstrap_mean(values: NDArray[Any], *, rounds: int = ROUNDS, seed: int = 0) -> Estimate:
    """Estimate the mean of one value a record, `(n,)`, as `bootstrap`."""
    numbers = np.asarray(values, np.float64)
    return bootstrap(lambda rows: float(numbers[rows].mean()), len(numbers), rounds=rounds, seed=seed)
