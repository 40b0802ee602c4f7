"""Drift baselines as the arrays of a head's file, and back, and their checks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.heads.drift import Drift

__all__ = ["check_drift", "drift_arrays", "read_drift_arrays"]

_ARRAYS = ("centres", "spreads", "limits", "means", "variances", "counts", "sizes", "levels")
_TOKENS = "tokens"
_LONGEST = 1.01  # square of the length of a vector of length 1


def drift_arrays(head: Drift) -> dict[str, NDArray[Any]]:
    """The arrays of a head's file."""
    with np.errstate(over="ignore"):  # whoever saves them looks for infinity
        arrays = {name: np.ascontiguousarray(getattr(head, name), np.float32) for name in _ARRAYS}
    return {**arrays, _TOKENS: np.ascontiguousarray(head.tokens, np.uint8)}


def read_drift_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays of a baseline, from those of a file.

    Raises:
        ValueError, LookupError: an array is missing, has another type, or is not finite.
    """
    found = {name: np.array(arrays[name]) for name in (*_ARRAYS, _TOKENS)}
    for name, array in found.items():
        kind = np.uint8 if name == _TOKENS else np.float32
        if array.dtype != kind or not np.isfinite(array).all():
            raise ValueError(f"{name!r} must be finite {np.dtype(kind)} numbers")
    return found


def check_drift(head: Drift, dim: int) -> None:
    """Check that the parts of a baseline match each other and the model.

    Raises:
        ValueError: they do not.
    """
    n, n_groups = len(head.measures), len(head.centres)
    if head.centres.shape != (len(head.centres), dim) or not len(head.centres):
        raise ValueError(f"its centres have shape {head.centres.shape}: it must be (n_groups, {dim})")
    if not (np.einsum("nd,nd->n", head.centres, head.centres) <= _LONGEST).all():
        raise ValueError("its centres do not have length 1")
    if head.spreads.shape != (n_groups,) or head.spreads.min() <= 0:
        raise ValueError("its groups do not have a positive spread each")
    if head.limits.shape != (2,) or head.tokens.ndim != 1:
        raise ValueError("its limits and tokens have another shape")
    if any(array.shape != (n,) for array in (head.means, head.variances, head.counts)):
        raise ValueError(f"its arrays do not have {n} measures")
    if not (head.variances.min() > 0 and head.counts.min() >= 1):
        raise ValueError("its variances or counts are not positive")
    rising = head.sizes.ndim == 1 and head.sizes.size and head.sizes.min() > 0
    if not rising or (np.diff(head.sizes) <= 0).any():
        raise ValueError("its sizes of windows do not rise")
    if head.levels.shape != head.sizes.shape or head.levels.min() <= 0:
        raise ValueError("its levels do not match its sizes of windows")
