"""Novelty: the distance of a text from normal texts, and the threshold above which it is novel.

Normal texts are modelled as one Gaussian. With their mean m and the axes u of their covariance, with
variances λ, the squared Mahalanobis distance of a vector x is

    Σ (u · (x - m))² / (λ + t)  +  (|x - m|² - Σ (u · (x - m))²) / (r + t),

summed over the axes with the largest variances; the remaining axes share their mean variance r. The
regulariser t is a share of the mean variance of all axes, so that axes without variance do not dominate.
`encoder.heads.scoring.Novelty` computes the distance from dot products with u / √(λ + t) and one more
direction.

The threshold is that of split conformal prediction (Vovk et al., 2005), with the normal texts held out in
turn: it is the quantile of their distances that leaves the wanted share above it.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.heads.examples import FOLDS, Examples
from encoder.errors import ConfigurationError, InputError
from encoder.heads.scoring import Heads, Novelty

__all__ = ["AXES", "fit_novelty"]

AXES = 64
"""The default number of axes: more axes detect more and cost proportionally more."""

_REGULARISER = 0.01  # share of the mean variance
_MIN_RECORDS = 100


def fit_novelty(
    name: str,
    examples: Examples,
    *,
    alert_rate: float,
    axes: int = AXES,
    seed: int = 0,
    metadata: dict[str, Any] | None = None,
) -> Novelty:
    """Fit a novelty head.

    Args:
        name: the name of the head.
        examples: normal records in their natural frequencies; repeated records count as often as they occur.
        alert_rate: the share of normal texts that may be flagged as novel.
        axes: the number of axes, limited to the model's dimensions; see `AXES`.
        seed: random seed of the folds.
        metadata: what the head stores besides its own parameters; any JSON.

    Raises:
        ConfigurationError: the rate or the number of axes is out of range.
        InputError: there are too few records for the rate.
    """
    if not 0 < alert_rate < 1:
        raise ConfigurationError(f"`alert_rate` is {alert_rate:g}: it must be between 0 and 1")
    n, dim = examples.vectors.shape
    if axes < 1:
        raise ConfigurationError(f"`axes` is {axes}: it must be 1 or more")
    axes = min(axes, dim)
    fewest = max(_MIN_RECORDS, math.ceil(1 / alert_rate) - 1)
    if n < fewest:
        raise InputError(
            f"{n:,} normal records are too few for an alert rate of {alert_rate * 100:g} %: give {fewest:,} "
            "or more, or a higher rate"
        )
    distances = _held_out_distances(examples.vectors, axes, seed)
    rank = math.ceil((n + 1) * (1 - alert_rate))
    threshold = float(np.sort(distances)[min(rank, n) - 1])
    head = _gaussian(name, examples.vectors, axes)
    about = {**(metadata or {}), "records": n, "alert_rate": alert_rate, "axes": axes, "seed": seed}
    return Novelty(name, head.directions, head.offsets, head.squares, threshold, about)


def _held_out_distances(vectors: NDArray[np.float32], axes: int, seed: int) -> NDArray[np.float32]:
    """Return the distance of each normal vector from the others: those of the other folds."""
    folds = np.random.default_rng(seed).permutation(len(vectors)) % FOLDS
    distances = np.empty(len(vectors), np.float32)
    for fold in range(FOLDS):
        out = folds == fold
        head = _gaussian("", vectors[~out], axes)
        distances[out] = Heads([head])(vectors[out])[0][0]
    return distances


def _gaussian(name: str, vectors: NDArray[np.float32], n_axes: int) -> Novelty:
    """Fit the Gaussian; the threshold is infinite."""
    wide = vectors.astype(np.float64)
    mean = wide.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(wide, rowvar=False, bias=True))
    variances, axes = variances[::-1].clip(min=0), axes[:, ::-1].T  # the largest first
    extra = max(_REGULARISER * float(variances.mean()), 1e-9)  # for the case that all normal texts are equal
    rest = float(variances[n_axes:].mean() if n_axes < len(variances) else 0.0) + extra
    known = np.sqrt(variances[:n_axes] + extra)
    along = axes[:n_axes] / known[:, None]
    # |x - m|² = 1 - 2 m · x + |m|² for a vector of length 1.
    directions = np.concatenate([along, -2 * mean[None] / rest])
    offsets = np.append(-along @ mean, (1 + mean @ mean) / rest)
    squares = 1 - known**2 / rest
    parts = [part.astype(np.float32) for part in (directions, offsets, squares)]
    return Novelty(name, parts[0], parts[1], parts[2], math.inf)
