"""The labels that classifiers give records, as measures of drift."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from encoder.heads.scoring import DECISION_THRESHOLD, Classifier, Head, Heads, Labelled, Tagged

__all__ = ["label_shares", "scored_heads"]


def scored_heads(heads: Iterable[Classifier]) -> dict[str, str]:
    """The names of heads, and digests of the numbers that their labels depend on."""
    return {head.name: _digest(head) for head in heads}


def _digest(head: Classifier) -> str:
    total = hashlib.sha256("\0".join([head.link, str(head.multi_label), *head.labels]).encode())
    for array in (head.weights, head.bias, *(one for curve in head.curves for one in curve)):
        total.update(np.ascontiguousarray(array, np.float32).data)
    return total.hexdigest()[:16]


def label_shares(
    heads: Sequence[Head], vectors: NDArray[np.float32]
) -> tuple[tuple[str, ...], list[Classifier], NDArray[np.float32]]:
    """What labels the classifiers among heads give to vectors of length 1.

    Returns:
        `HEAD=LABEL` for each label, the classifiers, and `(n, n_labels)` float32: 1 where a record has it.
    """
    found = [head for head in sorted(heads, key=lambda one: one.name) if isinstance(head, Classifier)]
    names = tuple(f"{head.name}={label}" for head in found for label in head.labels)
    columns = [np.empty((len(vectors), 0), np.float32)]
    for head, outcome in zip(found, Heads(found)(vectors) if found else [], strict=True):
        if isinstance(outcome, Labelled):
            columns.append((outcome.label[:, None] == np.arange(len(head.labels))).astype(np.float32))
        elif isinstance(outcome, Tagged):
            columns.append((outcome.scores.T >= DECISION_THRESHOLD).astype(np.float32))
    return names, found, np.concatenate(columns, axis=1)
