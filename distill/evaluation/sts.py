"""Semantic textual similarity: do cosines rank pairs of texts like human scores do?"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from distill.evaluation.bootstrap import Estimate, bootstrap
from distill.evaluation.cosines import unit
from distill.evaluation.sets import Pairs

__all__ = ["similarity_correlation", "spearman"]


def similarity_correlation(pairs: Pairs, embed: Callable[[Sequence[str]], NDArray[Any]]) -> Estimate:
    """Estimate Spearman's correlation between cosines and human scores (MTEB's `cosine_spearman`)."""
    first, second = unit(embed(pairs.first)), unit(embed(pairs.second))
    cosines, scores = np.einsum("ij,ij->i", first, second), np.asarray(pairs.scores, np.float64)
    return bootstrap(lambda rows: spearman(cosines[rows], scores[rows]), len(scores))


def spearman(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Compute Spearman's correlation; ties share their mean rank, and a constant side gives NaN."""
    if not (np.ptp(ours) and np.ptp(theirs)):
        return float("nan")
    return float(np.corrcoef(rankdata(ours), rankdata(theirs))[0, 1])
