"""Drift: a baseline of records in their order, and the level that windows of the same kind rarely exceed.

The groups are found by spherical k-means (Dhillon and Modha, 2001), which starts from k-means++. The records
are held out in five consecutive parts: a record is unusual if its cosine with the nearest of the groups of
the other parts is among the lowest hundredth.

The level for windows of n records is the larger of two:

- what one in a thousand windows exceeds that are drawn as blocks of 32 consecutive records (a moving block
  bootstrap, Künsch, 1989), so that neighbours may be alike;
- the largest shift of n consecutive records of any of the five parts from the other parts. Windows of more
  than a fifth of the records are not seen: if the largest seen are above the first, larger ones may be as far
  away.

Both are shifts in units of a variance that counts how alike neighbours are: of each measure by itself, and at
least as much as of all groups together, since a rare group has too few runs to tell.

So the level holds once in a thousand for records that are independent or alike over some tens of records. Of
records that come in longer bursts it says what such a stream of this length can say: that no part of it
exceeded the level, seen from the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError
from encoder.heads.drift import Drift
from encoder.heads.drift_labels import label_shares, scored_heads
from encoder.heads.scoring import Head

__all__ = ["MIN_RECORDS", "RATE", "DriftReport", "fit_drift"]

MIN_RECORDS = 500
"""The fewest records of a baseline."""

RATE = 0.001
"""The share of windows of the baseline's records that may exceed the level."""

_PARTS = 5
_GROUPS, _RECORDS_PER_GROUP = 128, 16
_ROUNDS, _FITTED = 10, 20_000
_UNUSUAL = 0.01
_TIE = 1e-4  # texts that are the same have cosines that differ by rounding
_BLOCK = 32
_DRAWS = 10_000
_LEAST_VARIANCE = 0.01  # that of a share of 1 %: windows hold too few of rarer ones to be sure of them
_WINDOWS = 20  # of one size, so that their variance means something
_AT_ONCE = 1 << 14

Wide = NDArray[np.float64]


@dataclass(frozen=True)
class DriftReport:
    """What was found.

    Attributes:
        records: how many records the baseline has.
        groups: the number of groups.
        held_out: the largest drift of consecutive windows of the records from the other parts, if the records
            were independent.
    """

    records: int
    groups: int
    held_out: float


def fit_drift(
    name: str,
    vectors: NDArray[np.float32],
    lengths: NDArray[np.int64],
    unknown: NDArray[np.float64],
    *,
    heads: Sequence[Head] = (),
    seed: int = 0,
    metadata: dict[str, Any] | None = None,
) -> tuple[Drift, DriftReport]:
    """Fit a baseline.

    Args:
        name: the name of the head.
        vectors: `(n, dim)` float32 of length 1, of records in the order in which they came.
        lengths: `(n,)` the characters of their texts.
        unknown: `(m,)` the shares of unknown tokens of some of them.
        heads: the model's heads; the shares of their labels are measures.
        seed: random seed.
        metadata: what the head stores besides its own parameters; any JSON.

    Raises:
        InputError: there are too few records.
    """
    n = len(vectors)
    if n < MIN_RECORDS:
        raise InputError(f"{n:,} records are too few for a baseline: give {MIN_RECORDS:,} or more")
    random, n_groups = np.random.default_rng(seed), min(_GROUPS, n // _RECORDS_PER_GROUP)
    centres = _centres(vectors, n_groups, random)
    part = np.arange(n) * _PARTS // n
    similarity = np.empty(n, np.float32)
    for k in range(_PARTS):
        others = _centres(vectors[part != k], n_groups, random)
        similarity[part == k] = _nearest(others, vectors[part == k])[1]
    threshold = float(np.quantile(similarity, _UNUSUAL)) - _TIE
    labels, scored, shares = label_shares(heads, vectors)
    groups = _nearest(centres, vectors)[0][:, None] == np.arange(len(centres))
    measured = np.column_stack([groups, similarity < threshold, np.log1p(lengths), shares]).astype(np.float32)
    means = measured.mean(axis=0, dtype=np.float64)
    sizes, variances, levels, held_out = _levels(measured, means, part, random)
    about = {**(metadata or {}), "records": n, "groups": len(centres), "seed": seed, "rate": RATE}
    head = Drift(
        name,
        centres,
        threshold,
        labels,
        scored_heads(scored),
        np.append(means, unknown.mean()).astype(np.float32),
        np.append(variances, max(float(unknown.var()), _LEAST_VARIANCE**2)).astype(np.float32),
        np.append(np.full(len(means), n), len(unknown)).astype(np.float32),
        sizes.astype(np.float32),
        levels.astype(np.float32),
        {**about, "held_out_drift": round(held_out, 2)},
    )
    return head, DriftReport(n, len(centres), held_out)


def _centres(vectors: NDArray[np.float32], n_groups: int, random: np.random.Generator) -> Any:
    """Spherical k-means of at most `_FITTED` of the vectors: `(n_groups or fewer, dim)` float32."""
    if len(vectors) > _FITTED:
        vectors = vectors[np.sort(random.choice(len(vectors), _FITTED, replace=False))]
    chosen = [int(random.integers(len(vectors)))]
    far = (1 - vectors @ vectors[chosen[0]]).clip(0).astype(np.float64)
    while len(chosen) < n_groups and far.sum() > _TIE * len(vectors):
        chosen.append(int(random.choice(len(vectors), p=far / far.sum())))
        far = np.minimum(far, (1 - vectors @ vectors[chosen[-1]]).clip(0))
    centres = vectors[chosen]
    for _ in range(_ROUNDS):
        group = (vectors @ centres.T).argmax(axis=1)
        order = np.argsort(group, kind="stable")
        there, first = np.unique(group[order], return_index=True)
        sums = np.add.reduceat(vectors[order], first, axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres[there] = np.where(lengths > 0, sums / np.maximum(lengths, _TIE), centres[there])
    return centres.astype(np.float32)


def _nearest(centres: NDArray[np.float32], vectors: NDArray[np.float32]) -> tuple[Any, Any]:
    """The group of each vector, and its cosine."""
    parts = [vectors[first : first + _AT_ONCE] @ centres.T for first in range(0, len(vectors), _AT_ONCE)]
    groups = np.concatenate([one.argmax(axis=1) for one in parts])
    return groups, np.concatenate([one.max(axis=1) for one in parts])


def _levels(
    measured: NDArray[np.float32], means: Wide, part: NDArray[np.int64], random: np.random.Generator
) -> tuple[Any, Any, Any, float]:
    """The sizes of windows, the variances of measures, the levels, and the largest held-out drift."""
    n = len(measured)
    alone = measured.var(axis=0, dtype=np.float64)
    doubling = _BLOCK * 2 ** np.arange(int(np.log2(n)) + 1)
    seen = np.array([*doubling[doubling < n // _PARTS], n // _PARTS])
    held_out = [_held_out(measured, part, k, seen) for k in range(_PARTS)]
    errors = 1 / seen + 1 / n
    few = seen <= max(_BLOCK, n // _WINDOWS)
    squares = np.array([[(one**2).mean(axis=0) for one in sizes] for sizes in held_out]) / errors[:, None]
    variances = _pooled(squares[:, few].mean(axis=0), alone).max(axis=0)
    shifts = np.zeros(len(seen))
    for k in range(_PARTS):  # by variances that do not know of this part
        known = _pooled(np.delete(squares, k, axis=0)[:, few].mean(axis=0), alone).max(axis=0)
        for i, one in enumerate(held_out[k]):
            shifts[i] = max(shifts[i], (np.abs(one) / np.sqrt(errors[i] * known)).max())
    sizes = _BLOCK * 2.0 ** np.arange(int(np.log2(n)) + 1)
    drawn = _bootstrap(measured - means, alone, len(sizes), random)
    levels = np.maximum(drawn, np.interp(np.log(sizes), np.log(seen), shifts))
    beyond = sizes > seen[-1]
    if shifts[-1] > drawn[beyond][0]:
        larger = np.sqrt((1 / seen[-1] + 1 / n) / (1 / sizes[beyond] + 1 / n))
        levels[beyond] = np.maximum(drawn[beyond], shifts[-1] * larger)
    usual = np.interp(np.log(seen), np.log(sizes), drawn)[:, None] * np.sqrt(
        errors[:, None] * np.maximum(alone, _LEAST_VARIANCE)
    )
    drift = max(float((np.abs(one) / usual[i]).max()) for some in held_out for i, one in enumerate(some))
    return sizes, variances, levels, drift


def _pooled(squares: Wide, alone: Wide) -> Wide:
    """Variances of one record from mean squares of windows, and at least times what all have in common."""
    together = squares.sum(axis=-1, keepdims=True) / max(alone.sum(), _LEAST_VARIANCE)
    found: Wide = np.maximum(squares, np.maximum(alone, _LEAST_VARIANCE) * np.maximum(1, together))
    return found


def _held_out(
    measured: NDArray[np.float32], part: NDArray[np.int64], k: int, sizes: NDArray[np.int64]
) -> list[Wide]:
    """For each size the means of all windows of consecutive records of a part, less those of the others."""
    inside = measured[part == k] - measured[part != k].mean(axis=0, dtype=np.float64)
    sums = np.cumsum(np.vstack([np.zeros((1, inside.shape[1])), inside]), axis=0)
    return [(sums[size:] - sums[:-size]) / size for size in sizes]


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
