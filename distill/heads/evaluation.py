"""Evaluate a head on labelled records: figures with intervals, per-label metrics, and confusions."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from distill.evaluation.bootstrap import Estimate, bootstrap, bootstrap_error, bootstrap_mean
from distill.evaluation.figures import json_values
from distill.heads.calibration import ece
from distill.heads.examples import Examples
from encoder.errors import ConfigurationError, InputError
from encoder.heads.cases import Cases, Known
from encoder.heads.drift import Drift
from encoder.heads.groups import Groups
from encoder.heads.scoring import (
    DECISION_THRESHOLD,
    Classifier,
    Head,
    Heads,
    Nearest,
    Novel,
    Novelty,
    Prototypes,
)

__all__ = ["HeadQuality", "LabelQuality", "evaluate_head"]

NONE = "(none)"
"""The name of no prototype or no label."""

_MAX_ROUNDS, _MIN_ROUNDS, _SORTED = 200, 50, 40_000_000  # bootstrap rounds; scores to sort in all rounds
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelQuality:
    """The metrics of one label, NaN where undefined, and the number of its records."""

    label: str
    precision: float
    recall: float
    f1: float
    average_precision: float
    records: int


@dataclass(frozen=True)
class HeadQuality:
    """The quality of a head.

    Attributes:
        records: the number of records that it was measured on.
        figures: the figures by name, each with its interval.
        labels: the metrics of each label.
        confusions: `(true, predicted, records)`, the most frequent first; for records with one label.
        skipped: the number of records with a label that the classifier does not know.
    """

    records: int
    figures: dict[str, Estimate]
    labels: list[LabelQuality] = field(default_factory=list)
    confusions: list[tuple[str, str, int]] = field(default_factory=list)
    skipped: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the quality as JSON values."""
        plain: dict[str, Any] = json_values(asdict(self))
        return plain


def evaluate_head(head: Head, examples: Examples, *, novel: Sequence[str] | None = None) -> HeadQuality:
    """Evaluate a head.

    Args:
        head: the head.
        examples: labelled records that the head was not fitted to.
        novel: for a novelty head, the labels of novel records, if any.

    Raises:
        InputError: no record has a label that the head knows, or one of `novel`.
        ConfigurationError: it is a head of groups.
    """
    if isinstance(head, Groups):
        raise ConfigurationError("groups are measured with their texts, by `evaluate_groups`")
    if isinstance(head, Drift):
        raise ConfigurationError(
            f"{head.name!r} is a drift baseline, which is about sets of records: use `millstream evaluate "
            "--drift`"
        )
    outcome = Heads([head])(examples.vectors)[0]
    if isinstance(head, Novelty):
        assert isinstance(outcome, Novel)
        return _novelty(outcome, examples, novel)
    if isinstance(head, Cases):
        assert isinstance(outcome, Known)
        return _cases(head, outcome, examples)
    if isinstance(head, Prototypes):
        assert isinstance(outcome, Nearest)
        return _prototypes(head, outcome, examples)
    return _classifier(head, examples)


def _classifier(head: Classifier, examples: Examples) -> HeadQuality:
    targets = examples.targets(head.labels)
    known = np.array([set(some) <= set(head.labels) for some in examples.labels]) & (
        head.multi_label | targets.any(axis=1)
    )
    if not known.any():
        raise InputError(
            f"no record has a label of the head {head.name!r}, which knows {_shown(head.labels)}"
        )
    targets, vectors = targets[known], examples.vectors[known]
    logits = head.weights @ vectors.T + head.bias[:, None]
    scores = head.probabilities(logits).T.astype(np.float64)
    best = scores.argmax(axis=1)[:, None] == np.arange(len(head.labels))
    predicted = scores >= DECISION_THRESHOLD if head.multi_label else best
    correct = (predicted == targets).all(axis=1)
    n, rounds = len(targets), _rounds(targets.size)
    figures = {
        "accuracy": bootstrap_mean(correct),
        "macro F1": bootstrap(lambda rows: _macro_f1(predicted[rows], targets[rows]), n, rounds=rounds),
        "average precision": bootstrap(_mean_ap(scores, targets), n, rounds=rounds),
        "calibration error": bootstrap_error(
            lambda rows: ece(scores[rows], targets[rows], multi_label=head.multi_label), n, rounds=rounds
        ),
    }
    labels = [_label(*one) for one in zip(head.labels, predicted.T, targets.T, scores.T, strict=True)]
    confusions = [] if head.multi_label else _confusions(head.labels, predicted.argmax(1), targets.argmax(1))
    return HeadQuality(n, figures, labels, confusions, skipped=len(examples) - n)


def _prototypes(head: Prototypes, outcome: Nearest, examples: Examples) -> HeadQuality:
    """Records with other labels, or none, should match no prototype."""
    names = (*head.names, NONE)
    targets = examples.targets(names)
    targets[~targets.any(axis=1), -1] = True
    predicted = np.where(outcome.nearest < 0, len(head.names), outcome.nearest)[:, None] == np.arange(
        len(names)
    )
    if targets[:, -1].all():
        raise InputError(f"no record has a label of the head {head.name!r}, which knows {_shown(head.names)}")
    cosines = examples.vectors @ head.directions.T
    scores = np.concatenate([cosines, 1 - cosines.max(axis=1, keepdims=True)], axis=1)
    n, rounds = len(targets), _rounds(targets.size)
    figures = {
        "accuracy": bootstrap_mean((predicted & targets).any(axis=1)),
        "macro F1": bootstrap(lambda rows: _macro_f1(predicted[rows], targets[rows]), n, rounds=rounds),
        "average precision": bootstrap(_mean_ap(scores, targets), n, rounds=rounds),
    }
    labels = [_label(*one) for one in zip(names, predicted.T, targets.T, scores.T, strict=True)]
    return HeadQuality(n, figures, labels, _confusions(names, predicted.argmax(1), targets.argmax(1)))


def _cases(head: Cases, outcome: Known, examples: Examples) -> HeadQuality:
    """The nearest case is right if it has the record's label; records with other labels should have none."""
    names = (*head.labels, NONE)
    targets = examples.targets(names)
    targets[~targets.any(axis=1), -1] = True
    near = outcome.case[:, 0] >= 0
    predicted = np.where(near, head.label[outcome.case[:, 0]], len(head.labels))
    right = targets[np.arange(len(targets)), predicted]
    figures = {"recall": bootstrap_mean((right & near)[~targets[:, -1]])} if not targets[:, -1].all() else {}
    if near.any():
        figures["precision"] = bootstrap_mean(right[near])
    figures["matched"] = bootstrap_mean(near)
    return HeadQuality(len(targets), figures, [], _confusions(names, predicted, targets.argmax(1)))


def _novelty(outcome: Novel, examples: Examples, novel: Sequence[str] | None) -> HeadQuality:
    novel_labels = set(novel or ())
    truth = np.array([bool(novel_labels.intersection(some)) for some in examples.labels])
    if missing := novel_labels.difference(examples.counts()):
        there = _shown(sorted(examples.counts()))
        raise InputError(f"no record has the label {min(missing)!r}; there are {there}")
    figures = {}
    if not truth.all():
        figures["alert rate"] = bootstrap_mean(outcome.novel[~truth])
    if truth.any():
        figures["detected"] = bootstrap_mean(outcome.novel[truth])
        if not truth.all():
            pair = (outcome.distance, truth)
            for name, score in (("AUROC", roc_auc_score), ("average precision", average_precision_score)):
                figures[name] = bootstrap(_of_two(score, *pair), len(truth), rounds=_rounds(len(truth)))
    return HeadQuality(len(truth), figures)


def _rounds(n_scores: int) -> int:
    return max(_MIN_ROUNDS, min(_MAX_ROUNDS, _SORTED // n_scores))


def _of_two(
    score: Callable[..., float], distances: NDArray[np.float32], truth: Bools
) -> Callable[[NDArray[np.int64]], float]:
    def of(rows: NDArray[np.int64]) -> float:
        mine = truth[rows]
        return float("nan") if mine.all() or not mine.any() else float(score(mine, distances[rows]))

    return of


def _macro_f1(predicted: Bools, targets: Bools) -> float:
    """Average the F1 of the labels that occur or are predicted."""
    hits = (predicted & targets).sum(axis=0)
    both = predicted.sum(axis=0) + targets.sum(axis=0)
    return float((2 * hits[both > 0] / both[both > 0]).mean())


def _mean_ap(scores: NDArray[Any], targets: Bools) -> Callable[[NDArray[np.int64]], float]:
    """Average the average precision of the labels that occur."""

    def of(rows: NDArray[np.int64]) -> float:
        pairs = zip(scores[rows].T, targets[rows].T, strict=True)
        return float(np.mean([average_precision_score(true, score) for score, true in pairs if true.any()]))

    return of


def _label(label: str, predicted: Bools, true: Bools, scores: NDArray[Any]) -> LabelQuality:
    hits = int((predicted & true).sum())
    return LabelQuality(
        label,
        precision=hits / predicted.sum() if predicted.any() else float("nan"),
        recall=hits / true.sum() if true.any() else float("nan"),
        f1=2 * hits / (predicted.sum() + true.sum()) if predicted.any() or true.any() else float("nan"),
        average_precision=float(average_precision_score(true, scores)) if true.any() else float("nan"),
        records=int(true.sum()),
    )


def _confusions(
    labels: Sequence[str], predicted: NDArray[np.int64], true: NDArray[np.int64]
) -> list[tuple[str, str, int]]:
    pairs, counts = np.unique(np.stack([true, predicted], axis=1), axis=0, return_counts=True)
    found = [
        (labels[a], labels[b], int(count))
        for (a, b), count in zip(pairs.tolist(), counts.tolist(), strict=True)
    ]
    return sorted((one for one in found if one[0] != one[1]), key=lambda one: -one[2])


def _shown(labels: Sequence[str]) -> str:
    return ", ".join(labels[:10]) + (f" and {len(labels) - 10} more" if len(labels) > 10 else "")
