"""The blend: a fitted table that keeps part of the plain distillation.

A teacher ignores words that distinguish some texts (single words give spam away), and so does a table fitted
to it. The blend concatenates the plain distillation's vectors, scaled down, to the fitted ones. The dot
product of two texts is then a weighted sum of both tables' dot products. Of the concatenated dimensions, the
blend keeps the axes along which the texts' vectors are longest. The fewer tokens of text a table was
fitted to, the less it knows about each, and the more of the plain distillation it keeps.
"""

import math

import numpy as np
from numpy.typing import NDArray

from distill.corpus_fit.pooling import MeanPooling
from distill.corpus_fit.targets import blocks, longest_axes, second_moment

__all__ = ["blend_tables", "default_blend"]

_HALF_WEIGHT = 100_000  # tokens of text at which the plain distillation weighs half as much as the fit
Floats = NDArray[np.float32]


def default_blend(n_tokens: int) -> float:
    """Return the relative length of the plain distillation's vectors for a fit to texts of `n_tokens` tokens.

    Dot products grow with the square of the lengths. The plain distillation therefore weighs as much as the
    fit for no text, half as much for 100,000 tokens, and a tenth for 900,000. It goes by tokens and not by
    texts, because a long text teaches more of them. docs/notes/distillation.md has the figures.
    """
    return math.sqrt(_HALF_WEIGHT / (_HALF_WEIGHT + n_tokens))


def blend_tables(fitted: Floats, plain: Floats, blend: float, pooling: MeanPooling) -> Floats:
    """Blend two tables into one with the dimensions of the first.

    Args:
        fitted: `(n_tokens, dim)` float32.
        plain: `(n_tokens, any)` float32.
        blend: the root mean square length of the texts' vectors in `plain`, relative to `fitted`.
        pooling: the texts on which lengths are measured.

    Returns:
        `(n_tokens, dim)` float32; dimensions are sorted by the length of the texts' vectors along them.
    """
    dim = fitted.shape[1]
    both = np.hstack([fitted, plain])
    vectors = (pooling.part(some.start, some.stop).means(both) for some in blocks(len(pooling)))
    moment = second_moment(vectors, both.shape[1])
    squares = np.diag(moment)
    scales = np.ones(len(squares))
    scales[dim:] = blend * math.sqrt(squares[:dim].sum() / max(squares[dim:].sum(), 1e-12))
    axes = longest_axes(moment * np.outer(scales, scales), dim)
    blended: Floats = (both * scales.astype(np.float32)) @ axes
    return blended
