"""The blend: a table that follows the teacher on texts, and keeps some of what its tokens say by themselves.

A teacher passes over words that tell some texts apart (spam shows by its words), and so does a table that
follows it. So half of what all texts have in common is taken off, and the vectors of plain distillation are
put beside the fitted ones, shorter: the product of two texts' vectors is then a weighted sum of both tables'
products. Of all these dimensions those are kept along which texts' vectors are longest.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from distill.pooling import MeanPooling
from distill.targets import blocks, longest_axes, second_moment

__all__ = ["blend_tables", "take_off_mean"]

_TAKEN_OFF = 0.5  # of the mean
Floats = NDArray[np.float32]


def take_off_mean(table: Floats, pooling: MeanPooling) -> Floats:
    """Take half of the mean text's vector off every text's.

    What all texts of a corpus have in common tells none from another (Mu and Viswanath, 2018,
    "All-but-the-top", take off all of it); with half of it left, cosines stay nearer to the teacher's.

    Args:
        table: `(n_tokens, dim)` float32.
        pooling: the texts.
    """
    sums = (means.sum(axis=0, dtype=np.float64) for means in _by_blocks(table, pooling))
    mean = sum(sums, np.zeros(table.shape[1])) / len(pooling)
    found: Floats = table - (_TAKEN_OFF * mean).astype(np.float32)
    return found


def blend_tables(fitted: Floats, plain: Floats, share: float, pooling: MeanPooling) -> Floats:
    """Put two tables side by side, and keep as many dimensions as the first one has.

    Args:
        fitted: `(n_tokens, dim)` float32.
        plain: `(n_tokens, any)` float32.
        share: how long texts' vectors of `plain` are to be beside those of `fitted`, in the root mean square.
        pooling: the texts that say how long vectors are.

    Returns:
        `(n_tokens, dim)` float32; the dimension along which texts' vectors are longest is the first.
    """
    dim = fitted.shape[1]
    both = np.hstack([fitted, plain])
    moment = second_moment(_by_blocks(both, pooling), both.shape[1])
    squares = np.diag(moment)
    scales = np.ones(len(squares))
    scales[dim:] = share * math.sqrt(squares[:dim].sum() / max(squares[dim:].sum(), 1e-12))
    axes = longest_axes(moment * np.outer(scales, scales), dim)
    blended: Floats = (both * scales.astype(np.float32)) @ axes
    return blended


def _by_blocks(table: Floats, pooling: MeanPooling) -> Iterator[Floats]:
    """The texts' vectors, some thousands at a time."""
    return (pooling.part(some.start, some.stop).means(table) for some in blocks(len(pooling)))
