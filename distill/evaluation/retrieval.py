"""Retrieval: does a query find the passages that answer it?"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.bootstrap import Estimate, bootstrap_mean
from distill.evaluation.cosines import nearest
from distill.evaluation.sets import Retrieval

__all__ = ["CUT", "search_quality"]

CUT = 10
"""The number of passages that a query retrieves."""


def search_quality(
    search: Retrieval, embed: Callable[[Sequence[str]], NDArray[Any]], cut: int = CUT
) -> tuple[Estimate, Estimate]:
    """Estimate nDCG and recall of the first `cut` passages, averaged over the queries that have answers.

    The gain of a passage is its relevance divided by the logarithm of its rank, as in trec_eval and MTEB.
    Recall is the share of a query's answers among the retrieved passages.
    """
    ids = list(search.corpus)
    answered = [query for query in search.queries if search.relevant.get(query)]
    passages = embed(list(search.corpus.values()))
    queries = embed([search.queries[query] for query in answered])
    found, _ = nearest(queries, passages, cut)
    discounts = 1 / np.log2(np.arange(cut) + 2)
    gains, recalls = [], []
    for query, rows in zip(answered, found, strict=True):
        relevant = search.relevant[query]
        got = np.array([relevant.get(ids[row], 0.0) for row in rows])
        best = np.sort(np.array(list(relevant.values())))[::-1][:cut]
        gains.append(got @ discounts[: len(got)] / (best @ discounts[: len(best)]))
        recalls.append(np.count_nonzero(got) / len(relevant))
    return bootstrap_mean(np.array(gains)), bootstrap_mean(np.array(recalls))
