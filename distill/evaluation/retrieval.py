"""Retrieval: are the passages that answer a query among its nearest ones?"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.bootstrap import Estimate, bootstrap_mean
from distill.evaluation.cosines import nearest
from distill.evaluation.sets import Retrieval

__all__ = ["CUT", "search_quality"]

CUT = 10
"""Passages of a query that count."""


def search_quality(
    search: Retrieval, embed: Callable[[Sequence[str]], NDArray[Any]], cut: int = CUT
) -> tuple[Estimate, Estimate]:
    """Normalised DCG and recall of the first `cut` passages, means over the queries that have an answer.

    The gain of a passage is its relevance over the logarithm of its rank, as in trec_eval and MTEB; the
    best order of a query's answers is 1. Recall is the share of a query's answers that are found.
    """
    ids = list(search.corpus)
    asked = [query for query in search.queries if search.relevant.get(query)]
    passages, queries = embed(list(search.corpus.values())), embed([search.queries[query] for query in asked])
    found, _ = nearest(queries, passages, cut)
    discounts = 1 / np.log2(np.arange(cut) + 2)
    gains, recalls = [], []
    for query, rows in zip(asked, found, strict=True):
        relevant = search.relevant[query]
        got = np.array([relevant.get(ids[row], 0.0) for row in rows])
        best = np.sort(np.array(list(relevant.values())))[::-1][:cut]
        gains.append(got @ discounts[: len(got)] / (best @ discounts[: len(best)]))
        recalls.append(np.count_nonzero(got) / len(relevant))
    return bootstrap_mean(np.array(gains)), bootstrap_mean(np.array(recalls))
