"""The level of drift that windows of records exceed once in a thousand, whatever the order of the records.

Shifts are in units of a variance that counts how alike neighbours are: of each measure by itself, and at
least as much as of all groups together, since a rare group has too few runs to tell.

What windows of n records would exceed if neighbours were alike over some tens of records is a quantile of
windows that are drawn as blocks of 32 consecutive records (a moving block bootstrap, Künsch, 1989).

Records that come in longer bursts need more. Their windows are seen: consecutive records of one of five
parts, held against the other four. The logarithms of their largest shifts have a prediction limit, above
which one more window is once in a thousand, if they are normal. It is taken at the sizes of which there are
20 windows or more, and compared with that of the same records in a random order. By as much as it is higher,
levels are raised; and the higher it is, the more they rise for larger windows, up to what records would need
that stay alike for ever, whose means never settle.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

__all__ = ["PARTS", "RATE", "levels"]

RATE = 0.001
"""The share of windows of the baseline's records that may exceed the level."""

PARTS = 5
"""Consecutive parts of the records, each of which is held out once."""

_BLOCK = 32
_DRAWS = 10_000
_LEAST_VARIANCE = 0.01  # that of a share of 1 %: windows hold too few of rarer ones to be sure of them
_WINDOWS = 20  # of one size, so that their variance means something
_STEPS = 8  # windows of one size begin so many times in its length
_NO_SHIFT = 1e-9  # has a logarithm
_SETTLED = 0.5  # the power of the size by which shifts grow whose means never settle

Wide = NDArray[np.float64]


def levels(
    measured: NDArray[np.float32], part: NDArray[np.int64], random: np.random.Generator
) -> tuple[Wide, Wide, Wide, float]:
    """Find the levels.

    Args:
        measured: `(n, n_measures)` the measures of records in their order.
        part: `(n,)` ascending, the part of each: 0 to `PARTS` - 1.
        random: for the bootstrap.

    Returns:
        `(n_sizes,)` numbers of records, ascending; `(n_measures,)` the variances of a record's measures;
        `(n_sizes,)` the levels; and the largest shift of a held-out window, in times of what independent
        records would exceed once in a thousand.
    """
    n = len(measured)
    alone = measured.var(axis=0, dtype=np.float64)
    doubling = _BLOCK * 2 ** np.arange(int(np.log2(n)) + 1)
    seen = np.array([*doubling[doubling < n // PARTS], n // PARTS])
    few = seen[seen <= max(_BLOCK, n // _WINDOWS)]
    held_out = [_held_out(measured, part, k, seen) for k in range(PARTS)]
    variances, limits, errors = _limits([some[: len(few)] for some in held_out], few, alone, n)
    shuffled = measured[random.permutation(n)]
    usual = _limits([_held_out(shuffled, part, k, few) for k in range(PARTS)], few, alone, n)[1]
    sizes: Wide = (_BLOCK * 2 ** np.arange(int(np.log2(n)) + 1)).astype(np.float64)
    drawn = _bootstrap(measured - measured.mean(axis=0, dtype=np.float64), alone, len(sizes), random)
    raised = drawn * _raise(np.maximum(limits - usual - errors, 0), few, sizes)
    independent = np.interp(np.log(seen), np.log(sizes), drawn)[:, None] * np.sqrt(
        (1 / seen + 1 / n)[:, None] * np.maximum(alone, _LEAST_VARIANCE)
    )
    furthest = max(
        float((np.abs(one) / independent[i]).max()) for some in held_out for i, one in enumerate(some)
    )
    return sizes, variances, raised, furthest


def _limits(
    held_out: list[list[Wide]], sizes: NDArray[np.int64], alone: Wide, n: int
) -> tuple[Wide, Wide, Wide]:
    """Variances of one record's measures, and limits of held-out windows.

    Args:
        held_out: for each part and size the means of windows, less those of the other parts.
        sizes: `(n_sizes,)` of the windows.
        alone: variances of independent records.
        n: the number of records.

    Returns:
        `(n_measures,)` the variances; `(n_sizes,)` the logarithms of what the largest shift of one more
        window exceeds once in a thousand; `(n_sizes,)` their standard errors.
    """
    errors = 1 / sizes + 1 / n
    squares = np.array([[(one**2).mean(axis=0) for one in some] for some in held_out]) / errors[:, None]
    limits, doubts = np.empty(len(sizes)), np.empty(len(sizes))
    for i in range(len(sizes)):
        logs = []
        for k, some in enumerate(held_out):  # by variances that do not know of this part
            known = _pooled(np.delete(squares, k, axis=0).mean(axis=0), alone).max(axis=0)
            shifts = np.abs(some[i]) / np.sqrt(errors[i] * known)
            logs.append(np.log(np.maximum(shifts.max(axis=1), _NO_SHIFT)))
        found, m = np.concatenate(logs), n / sizes[i]
        beyond = t.ppf(1 - RATE, m - 1)
        limits[i] = found.mean() + found.std() * beyond * np.sqrt(1 + 1 / m)
        doubts[i] = found.std() * np.sqrt((1 + beyond**2 / 2) / m)
    return _pooled(squares.mean(axis=0), alone).max(axis=0), limits, doubts


def _raise(above: Wide, few: NDArray[np.int64], sizes: Wide) -> Wide:
    """By how much the levels of windows of such sizes are raised.

    Args:
        above: by how much the limits are higher than those of records in a random order, as logarithms.
        few: the sizes of windows that they are of.
        sizes: the sizes of windows that are wanted.
    """
    seen, wanted = np.log(few), np.log(sizes)
    growth = min(_SETTLED, above[-1] / np.log(2))
    found: Wide = np.exp(np.interp(wanted, seen, above) + growth * np.maximum(wanted - seen[-1], 0))
    return found


def _pooled(squares: Wide, alone: Wide) -> Wide:
    """Variances of one record from mean squares of windows, and at least times what all have in common."""
    together = squares.sum(axis=-1, keepdims=True) / max(alone.sum(), _LEAST_VARIANCE)
    found: Wide = np.maximum(squares, np.maximum(alone, _LEAST_VARIANCE) * np.maximum(1, together))
    return found


def _held_out(
    measured: NDArray[np.float32], part: NDArray[np.int64], k: int, sizes: NDArray[np.int64]
) -> list[Wide]:
    """For each size the means of windows of consecutive records of a part, less those of the others."""
    inside = measured[part == k] - measured[part != k].mean(axis=0, dtype=np.float64)
    sums = np.cumsum(np.vstack([np.zeros((1, inside.shape[1])), inside]), axis=0)
    return [
        (sums[size :: max(size // _STEPS, 1)] - sums[: len(sums) - size : max(size // _STEPS, 1)]) / size
        for size in sizes.tolist()
    ]


def _bootstrap(off: Wide, alone: Wide, n_sizes: int, random: np.random.Generator) -> Wide:
    """The largest shift that one in a thousand windows of blocks exceeds, for sizes that double.

    A window of twice the size is the sum of two that are drawn.
    """
    sums = np.cumsum(np.vstack([np.zeros((1, off.shape[1])), off]), axis=0)
    blocks = sums[_BLOCK:] - sums[:-_BLOCK]
    variances = _pooled((blocks**2).mean(axis=0) / _BLOCK, alone)
    drawn = blocks[random.integers(0, len(blocks), _DRAWS)]
    levels = np.empty(n_sizes)
    for i in range(n_sizes):
        shifts = np.abs(drawn) / np.sqrt(variances * _BLOCK * 2**i)
        levels[i] = max(1, np.quantile(shifts.max(axis=1), 1 - RATE))
        drawn = drawn[random.permutation(_DRAWS)] + drawn[random.permutation(_DRAWS)]
    return levels
