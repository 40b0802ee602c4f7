"""The blend: a table that follows the teacher on texts, and keeps some of what its tokens say by themselves.

A teacher passes over words that tell some texts apart (spam shows by its words), and so does a table that
follows it. So the vectors of plain distillation are put beside the fitted ones, shorter: the product of two
texts' vectors is then a weighted sum of both tables' products. Of all these dimensions those are kept along
which texts' vectors are longest. The fewer texts a table was fitted to, the less it knows of its tokens, and
the more is kept of what they say by themselves.
"""

import math

import numpy as np
from numpy.typing import NDArray

from distill.corpus_fit.pooling import MeanPooling
from distill.corpus_fit.targets import blocks, longest_axes, second_moment

__all__ = ["blend_tables", "default_share"]

_HALVED = 6_000  # texts after which what tokens say by themselves weighs half as much as the fit
Floats = NDArray[np.float32]


def default_share(n_texts: int) -> float:
    """How long plain distillation's vectors are beside those of a table fitted to so many texts.

    Products of vectors go by the square of their lengths: those of plain distillation weigh as much as the
    fit's to no texts at all, half as much at 6,000 and a tenth at 54,000.
    docs/notes/distillation.md has figures.
    """
    return math.sqrt(_HALVED / (_HALVED + n_texts))


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
    vectors = (pooling.part(some.start, some.stop).means(both) for some in blocks(len(pooling)))
    moment = second_moment(vectors, both.shape[1])
    squares = np.diag(moment)
    scales = np.ones(len(squares))
    scales[dim:] = share * math.sqrt(squares[:dim].sum() / max(squares[dim:].sum(), 1e-12))
    axes = longest_axes(moment * np.outer(scales, scales), dim)
    blended: Floats = (both * scales.astype(np.float32)) @ axes
    return blended
