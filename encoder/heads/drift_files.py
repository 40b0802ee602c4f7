"""Drift baselines as the arrays of a head's file, and their checks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.heads.drift import Drift

__all__ = ["DRIFT_ARRAYS", "check_drift", "drift_arrays"]

DRIFT_ARRAYS = ("centres", "means", "variances", "counts", "sizes", "levels")
"""The arrays of a head's file, in the order of its attributes."""
_LONGEST = 1.01  # square of the length of a vector of length 1


def drift_arrays(head: Drift) -> dict[str, NDArray[Any]]:
    """The arrays of a head's file."""
    with np.errstate(over="ignore"):  # whoever saves them looks for infinity
        return {name: np.ascontiguousarray(getattr(head, name), np.float32) for name in DRIFT_ARRAYS}


def check_drift(head: Drift, dim: int) -> None:
    """Check that the parts of a baseline match each other and the model.

    Raises:
        ValueError: they do not.
    """
    n = len(head.measures)
    if head.centres.shape != (len(head.centres), dim) or not len(head.centres):
        raise ValueError(f"its centres have shape {head.centres.shape}: it must be (n_groups, {dim})")
    if not (np.einsum("nd,nd->n", head.centres, head.centres) <= _LONGEST).all():
        raise ValueError("its centres do not have length 1")
    if any(array.shape != (n,) for array in (head.means, head.variances, head.counts)):
        raise ValueError(f"its arrays do not have {n} measures")
    if not (head.variances.min() > 0 and head.counts.min() >= 1):
        raise ValueError("its variances or counts are not positive")
    rising = head.sizes.ndim == 1 and head.sizes.size and head.sizes.min() > 0
    if not rising or (np.diff(head.sizes) <= 0).any():
        raise ValueError("its sizes of windows do not rise")
    if head.levels.shape != head.sizes.shape or head.levels.min() <= 0:
        raise ValueError("its levels do not match its sizes of windows")
