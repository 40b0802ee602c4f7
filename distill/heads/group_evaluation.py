"""Measure groups on records whose kinds are known."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

from distill.evaluation.bootstrap import bootstrap, bootstrap_mean
from distill.heads.evaluation import HeadQuality
from encoder.heads.groups import Grouped
from encoder.heads.scoring import Outcome

__all__ = ["evaluate_groups"]

_ROUNDS = 200


def evaluate_groups(outcome: Outcome, kinds: Sequence[str]) -> HeadQuality:
    """Measure how well groups are the kinds that records are known to have.

    A record is grouped right if its group's records are exactly those of its kind (grouping accuracy: Zhu et
    al., "Tools and Benchmarks for Automated Log Parsing", 2019). Records in no group are one group.

    Args:
        outcome: the groups of records.
        kinds: the kind of each record.
    """
    assert isinstance(outcome, Grouped)
    kind = np.unique(np.asarray(kinds), return_inverse=True)[1]
    pairs = Counter(zip(kind.tolist(), outcome.group.tolist(), strict=True))
    of_kind, of_group = Counter(kind.tolist()), Counter(outcome.group.tolist())
    same = {pair for pair, n in pairs.items() if n == of_kind[pair[0]] == of_group[pair[1]]}
    right = np.array([pair in same for pair in zip(kind.tolist(), outcome.group.tolist(), strict=True)])

    def rand(rows: Any) -> float:
        return float(adjusted_rand_score(kind[rows], outcome.group[rows]))

    figures = {
        "grouping accuracy": bootstrap_mean(right),
        "kinds that are a group": bootstrap_mean(_among(of_kind, {a for a, _ in same})),
        "groups that are a kind": bootstrap_mean(_among(of_group, {b for _, b in same})),
        "adjusted Rand index": bootstrap(rand, len(kind), rounds=_ROUNDS),
        "in a group": bootstrap_mean(outcome.group >= 0),
    }
    return HeadQuality(len(kind), figures)


def _among(those: Counter[int], some: set[int]) -> Any:
    return np.array([one in some for one in those])
