"""Prototypes: named groups of a few examples, and the similarity of a text to the nearest group.

A prototype is the mean of its examples' vectors, scaled to length 1. The threshold is the cosine that 90 % of
the examples reach with the mean of the other examples of their name, so about 90 % of similar texts are
matched.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.heads.examples import Examples
from encoder.errors import InputError
from encoder.heads.scoring import Prototypes, unit_vectors

__all__ = ["fit_prototypes"]

_RECALL = 0.9  # share of the examples above the threshold
_TOLERANCE = 1e-5  # of a cosine, so that an example matches itself despite rounding
_MIN_EXAMPLES = 2  # of a name, to leave one out


def fit_prototypes(
    name: str, examples: Examples, *, threshold: float | None = None, metadata: dict[str, Any] | None = None
) -> Prototypes:
    """Fit prototypes.

    Args:
        name: the name of the head.
        examples: a few records of each name; their labels are the names.
        threshold: the least cosine of a match; None estimates it from the examples.
        metadata: what the head stores besides the number of examples; any JSON.

    Raises:
        InputError: a name has only one example and no threshold is given, or its texts have no known token.
    """
    names = tuple(sorted(examples.counts()))
    if not names:
        raise InputError("no record has a label: is `label` the right field?")
    known = examples.vectors.any(axis=1)  # the others have no known token
    members = [examples.vectors[mine & known] for mine in examples.targets(names).T]
    for one, vectors in zip(names, members, strict=True):
        if not vectors.any():
            raise InputError(
                f"the examples of {one!r} have no token that the model knows: give other examples"
            )
    directions = unit_vectors(np.stack([vectors.mean(axis=0) for vectors in members]))
    left_out = np.concatenate([_left_out(vectors) for vectors in members])
    if threshold is None and len(left_out) < sum(map(len, members)):
        few = next(one for one, vectors in zip(names, members, strict=True) if len(vectors) < _MIN_EXAMPLES)
        raise InputError(
            f"{few!r} has one example: give at least {_MIN_EXAMPLES} of each name, or set `threshold`"
        )
    least = float(np.quantile(left_out, 1 - _RECALL)) - _TOLERANCE if threshold is None else threshold
    about = {**(metadata or {}), "examples": {one: len(v) for one, v in zip(names, members, strict=True)}}
    return Prototypes(name, names, directions, least, about)


def _left_out(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine of each vector with the mean of the others, `(n,)`; empty for a single vector."""
    if len(vectors) < _MIN_EXAMPLES:
        return np.zeros(0, np.float32)
    others = unit_vectors(vectors.sum(axis=0) - vectors)
    cosines: NDArray[np.float32] = (others * vectors).sum(axis=1)
    return cosines
