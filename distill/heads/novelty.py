"""Novelty: how far a text is from what was normal, and how far is too far.

Normal texts are taken as one Gaussian: with their mean m and the axes u of their covariance, of variances λ,
the squared distance of a vector x is Mahalanobis's,

    Σ (u · (x - m))² / (λ + t)  +  (|x - m|² - Σ (u · (x - m))²) / (r + t),

over the axes of the largest variances; all others are taken as having their mean variance r. t is a share of
the mean variance of all axes, so that axes along which the normal texts do not differ at all do not decide.
`encoder.heads.scoring.Novelty` computes it from products with u / √(λ + t) and with one more direction.

The threshold is one of split conformal prediction (Vovk et al., 2005): normal texts are held out in turn, and
their distances, of which the wanted share lies above it, are as those of the normal texts to come.
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
"""Axes that are told apart: more find more, and cost as much more."""

_SHARE = 0.01  # of the mean variance, added to all
_FEWEST = 100


def fit_novelty(
    name: str,
    examples: Examples,
    *,
    alert_rate: float,
    axes: int = AXES,
    seed: int = 0,
    facts: dict[str, Any] | None = None,
) -> Novelty:
    """Fit a head of novelty.

    Args:
        name: of the head.
        examples: normal records, as they come: repeated ones count as often as they are there.
        alert_rate: the share of normal texts that may be called novel.
        axes: see `AXES`; the model's dimensions where these are fewer.
        seed: of the folds.
        facts: what the head is to remember besides its own parameters.

    Raises:
        ConfigurationError: the rate or the number of axes is out of range.
        InputError: there are too few records for such a rate.
    """
    if not 0 < alert_rate < 1:
        raise ConfigurationError(f"the alert rate is {alert_rate:g}: it must be above 0 and below 1")
    n, dim = examples.vectors.shape
    if axes < 1:
        raise ConfigurationError(f"axes is {axes}: it must be 1 or more")
    axes = min(axes, dim)
    fewest = max(_FEWEST, math.ceil(1 / alert_rate) - 1)
    if n < fewest:
        raise InputError(
            f"{n:,} normal records are too few for an alert rate of {alert_rate * 100:g} %: give {fewest:,} "
            "or more, or a higher rate"
        )
    folds = np.random.default_rng(seed).permutation(n) % FOLDS
    distances = np.empty(n, np.float32)
    for fold in range(FOLDS):
        out = folds == fold
        head = _gaussian(name, examples.vectors[~out], axes)
        distances[out] = Heads([head])(examples.vectors[out])[0][0]
    rank = math.ceil((n + 1) * (1 - alert_rate))
    threshold = float(np.sort(distances)[min(rank, n) - 1])
    head = _gaussian(name, examples.vectors, axes)
    about = {**(facts or {}), "records": n, "alert_rate": alert_rate, "axes": axes, "seed": seed}
    return Novelty(name, head.directions, head.offsets, head.squares, threshold, about)


def _gaussian(name: str, vectors: NDArray[np.float32], n_axes: int) -> Novelty:
    """The distance's form, without a threshold."""
    wide = vectors.astype(np.float64)
    mean = wide.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(wide, rowvar=False, bias=True))
    variances, axes = variances[::-1].clip(min=0), axes[:, ::-1].T  # the largest first
    extra = max(_SHARE * float(variances.mean()), 1e-9)  # all normal texts may be one
    rest = float(variances[n_axes:].mean() if n_axes < len(variances) else 0.0) + extra
    known = np.sqrt(variances[:n_axes] + extra)
    along = axes[:n_axes] / known[:, None]
    # |x - m|² = 1 - 2 m · x + |m|² for a vector of length 1.
    directions = np.concatenate([along, -2 * mean[None] / rest])
    offsets = np.append(-along @ mean, (1 + mean @ mean) / rest)
    squares = 1 - known**2 / rest
    parts = [part.astype(np.float32) for part in (directions, offsets, squares)]
    return Novelty(name, parts[0], parts[1], parts[2], math.inf)
