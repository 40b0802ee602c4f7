"""Prototypes: a name for a few examples, and how near a text is to the nearest name.

A prototype is the middle of its examples' vectors, at length 1. The threshold is the cosine that nine of ten
examples have to the middle of the others of their name: about so many of their like will be found.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.heads.examples import Examples
from encoder.errors import InputError
from encoder.heads.scoring import Prototypes, unit_vectors

__all__ = ["fit_prototypes"]

_FOUND = 0.9  # of the examples
_ROUNDING = 1e-5  # of a cosine: the same example once more is near
_FEWEST = 2  # examples of a name, to leave one out


def fit_prototypes(
    name: str, examples: Examples, *, threshold: float | None = None, facts: dict[str, Any] | None = None
) -> Prototypes:
    """Fit prototypes.

    Args:
        name: of the head.
        examples: a few records of each name; their labels are the names.
        threshold: the least cosine that counts as near; None finds it.
        facts: what the head is to remember besides the number of examples.

    Raises:
        InputError: a name has a single example, and no threshold is given; or its texts have no token.
    """
    names = tuple(sorted(examples.counts()))
    if not names:
        raise InputError("no record has a name: name the field with --label")
    known = examples.vectors.any(axis=1)  # the others have no token that the model knows
    members = [examples.vectors[mine & known] for mine in examples.targets(names).T]
    for one, vectors in zip(names, members, strict=True):
        if not vectors.any():
            raise InputError(f"the examples of {one!r} have no token that the model knows: give others")
    directions = unit_vectors(np.stack([vectors.mean(axis=0) for vectors in members]))
    left_out = np.concatenate([_left_out(vectors) for vectors in members])
    if threshold is None and len(left_out) < sum(map(len, members)):
        few = next(one for one, vectors in zip(names, members, strict=True) if len(vectors) < _FEWEST)
        raise InputError(f"{few!r} has one example: give at least {_FEWEST} of each name, or --threshold")
    least = float(np.quantile(left_out, 1 - _FOUND)) - _ROUNDING if threshold is None else threshold
    about = {**(facts or {}), "examples": {one: len(v) for one, v in zip(names, members, strict=True)}}
    return Prototypes(name, names, directions, least, about)


def _left_out(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(n,)` the cosine of each vector with the middle of the others; none where there are no others."""
    if len(vectors) < _FEWEST:
        return np.zeros(0, np.float32)
    others = unit_vectors(vectors.sum(axis=0) - vectors)
    cosines: NDArray[np.float32] = (others * vectors).sum(axis=1)
    return cosines
