"""The labels that classifiers give records, and the records in no group, as measures of drift."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.heads.groups import Grouped, Groups
from encoder.heads.scoring import DECISION_THRESHOLD, Classifier, Head, Heads, Labelled, Tagged
from encoder.masks import Masks

__all__ = ["NO_GROUP", "Counted", "label_names", "label_shares", "scored_heads"]

Counted = Classifier | Groups
"""The heads whose labels are counted."""

NO_GROUP = "none"
"""The label of records in no group."""


def label_names(head: Counted) -> tuple[str, ...]:
    """The measures of a head: `HEAD=LABEL` for each label."""
    labels = (NO_GROUP,) if isinstance(head, Groups) else head.labels
    return tuple(f"{head.name}={label}" for label in labels)


def scored_heads(heads: Iterable[Counted]) -> dict[str, str]:
    """The names of heads, and digests of the numbers that their labels depend on."""
    return {head.name: _digest(head) for head in heads}


def _digest(head: Counted) -> str:
    if isinstance(head, Groups):
        vectors = () if head.vectors is None else (head.vectors, np.float64(head.threshold))
        total = hashlib.sha256()
        for array in (head.rows.data, head.rows.ends, head.template, head.group, *vectors):
            total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()[:16]
    total = hashlib.sha256("\0".join([head.link, str(head.multi_label), *head.labels]).encode())
    for array in (head.weights, head.bias, *(one for curve in head.curves for one in curve)):
        total.update(np.ascontiguousarray(array, np.float32).data)
    return total.hexdigest()[:16]


def label_shares(
    heads: Sequence[Head], vectors: NDArray[np.float32], texts: Any = None, masks: Masks | None = None
) -> tuple[tuple[str, ...], list[Counted], NDArray[np.float32]]:
    """What labels the classifiers among heads give to vectors of length 1, and which are in no group.

    Args:
        heads: the heads.
        vectors: `(n, dim)` float32.
        texts: of the vectors; without them groups are left out.
        masks: what the model masks in texts.

    Returns:
        `HEAD=LABEL` for each label, the heads, and `(n, n_labels)` float32: 1 where a record has it.
    """
    counted = [head for head in sorted(heads, key=lambda one: one.name) if isinstance(head, Counted)]
    found = [head for head in counted if texts is not None or isinstance(head, Classifier)]
    columns = [np.empty((len(vectors), 0), np.float32)]
    outcomes = Heads(found, masks=masks)(vectors, texts) if found else []
    for head, outcome in zip(found, outcomes, strict=True):
        if isinstance(outcome, Grouped):
            columns.append((outcome.group[:, None] < 0).astype(np.float32))
        elif isinstance(outcome, Labelled) and isinstance(head, Classifier):
            columns.append((outcome.label[:, None] == np.arange(len(head.labels))).astype(np.float32))
        elif isinstance(outcome, Tagged):
            columns.append((outcome.scores.T >= DECISION_THRESHOLD).astype(np.float32))
    names = tuple(name for head in found for name in label_names(head))
    return names, found, np.concatenate(columns, axis=1)
