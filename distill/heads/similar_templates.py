"""Kinds of templates: those whose vectors are near each other are one group.

A template that several records had is a kind of its own: tokens tell more than vectors there, which differ
little between "Accepted password" and "Failed password". A template of one record joins the nearest kind that
is near enough, or begins one. The threshold is measured: the cosine that one in a thousand pairs of templates
exceeds.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["chance_cosine", "leaders"]

Floats = NDArray[np.float32]

_SHARE = 0.001  # of pairs
_PAIRS = 1_000_000  # that are drawn if there are more
_AT_ONCE = 256
_ROUNDING = 1e-6  # of cosines


def chance_cosine(vectors: Floats, seed: int = 0) -> float:
    """The cosine that one in a thousand pairs of vectors exceeds; none of fewer than a thousand does.

    Args:
        vectors: `(n, dim)` float32 of length 1.
        seed: random seed for the pairs.
    """
    n = len(vectors)
    if n * (n - 1) // 2 <= _PAIRS:
        one, two = np.triu_indices(n, 1)
    else:
        random = np.random.default_rng(seed)
        one, two = random.integers(0, n, _PAIRS), random.integers(0, n - 1, _PAIRS)
        two += two >= one
    if not len(one):
        return 1.0
    parts = range(0, len(one), 1 << 16)
    rows = [(one[k : k + (1 << 16)], two[k : k + (1 << 16)]) for k in parts]
    cosines = np.concatenate([np.einsum("nd,nd->n", vectors[a], vectors[b]) for a, b in rows])
    n_above = int(_SHARE * len(cosines))
    least = np.partition(cosines, len(cosines) - 1 - n_above)[len(cosines) - 1 - n_above]
    return float(least) + _ROUNDING


def leaders(vectors: Floats, threshold: float, kinds: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The leader of each vector: itself, or the nearest of those before it that lead themselves.

    Args:
        vectors: `(n, dim)` float32 of length 1; zeros lead themselves.
        threshold: the least cosine with a leader.
        kinds: `(n,)` which ones lead themselves whatever is near.

    Returns:
        `(n,)` int64, numbers of vectors.
    """
    found = np.arange(len(vectors))
    leading: list[int] = []
    for first in range(0, len(vectors), _AT_ONCE):
        some = vectors[first : first + _AT_ONCE]
        cosines = np.concatenate([some @ vectors[leading].T, some @ some.T], axis=1)
        n_before = len(leading)
        for k in range(len(some)):
            within = [n_before + one - first for one in leading[n_before:]]
            columns = np.r_[np.arange(n_before), np.array(within, np.int64)]
            best = int(columns[cosines[k, columns].argmax()]) if len(columns) else -1
            if best >= 0 and cosines[k, best] >= threshold and not kinds[first + k]:
                found[first + k] = leading[best] if best < n_before else first + best - n_before
            else:
                leading.append(first + k)
    return found
