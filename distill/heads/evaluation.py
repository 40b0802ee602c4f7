"""How well a head does on labelled records: figures with intervals, a table of labels, confusions."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from distill.evaluation.bootstrap import Estimate, bootstrap, bootstrap_error, bootstrap_mean
from distill.heads.calibration import ece
from distill.heads.examples import Examples
from encoder.errors import InputError
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
"""What stands for a text that is near no prototype, or that has no label."""

_MOST, _LEAST, _SORTED = 200, 50, 40_000_000  # rounds, and scores to sort in all of them
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelQuality:
    """Of one label: precision, recall, F1, average precision (NaN where it is not defined), its records."""

    label: str
    precision: float
    recall: float
    f1: float
    average_precision: float
    records: int


@dataclass(frozen=True)
class HeadQuality:
    """What a head comes to.

    Attributes:
        records: it was measured on.
        figures: by their names, each with its interval.
        labels: a row for each label.
        confusions: `(true, said, records)`, the most frequent first; of texts with one label.
        passed_over: records that were left out, since a classifier does not know a label of theirs.
    """

    records: int
    figures: dict[str, Estimate]
    labels: list[LabelQuality] = field(default_factory=list)
    confusions: list[tuple[str, str, int]] = field(default_factory=list)
    passed_over: int = 0

    def as_json(self) -> dict[str, Any]:
        """The same for JSON; a figure that is not defined is null."""
        found: dict[str, Any] = _without_nan(asdict(self))
        return found


def evaluate_head(head: Head, examples: Examples, *, novel: Sequence[str] | None = None) -> HeadQuality:
    """Measure a head.

    Args:
        head: the head.
        examples: labelled records that it was not fitted to.
        novel: for novelty, the labels of what should be found; None for none.

    Raises:
        InputError: no record has a label that the head knows, or that is named.
    """
    outcome = Heads([head])(examples.vectors)[0]
    if isinstance(head, Novelty):
        assert isinstance(outcome, Novel)
        return _novelty(outcome, examples, novel)
    if isinstance(head, Prototypes):
        assert isinstance(outcome, Nearest)
        return _prototypes(head, outcome, examples)
    return _classifier(head, examples)


def _classifier(head: Classifier, examples: Examples) -> HeadQuality:
    targets = examples.targets(head.labels)
    known = np.array([set(some) <= set(head.labels) for some in examples.labels]) & (
        head.several | targets.any(axis=1)
    )
    if not known.any():
        raise InputError(f"no record has a label of the head {head.name!r}: it knows {_shown(head.labels)}")
    targets, vectors = targets[known], examples.vectors[known]
    logits = head.weights @ vectors.T + head.bias[:, None]
    scores = head.probabilities(logits).T.astype(np.float64)
    best = scores.argmax(axis=1)[:, None] == np.arange(len(head.labels))
    said = scores >= DECISION_THRESHOLD if head.several else best
    right = (said == targets).all(axis=1)
    n, rounds = len(targets), _rounds(targets.size)
    figures = {
        "accuracy": bootstrap_mean(right),
        "macro F1": bootstrap(lambda rows: _macro_f1(said[rows], targets[rows]), n, rounds=rounds),
        "average precision": bootstrap(_mean_ap(scores, targets), n, rounds=rounds),
        "calibration error": bootstrap_error(
            lambda rows: ece(scores[rows], targets[rows], several=head.several), n, rounds=rounds
        ),
    }
    labels = [_label(*one) for one in zip(head.labels, said.T, targets.T, scores.T, strict=True)]
    confusions = [] if head.several else _confusions(head.labels, said.argmax(1), targets.argmax(1))
    return HeadQuality(n, figures, labels, confusions, passed_over=len(examples) - n)


def _prototypes(head: Prototypes, outcome: Nearest, examples: Examples) -> HeadQuality:
    """Records with other labels, or none, should be near no name."""
    names = (*head.names, NONE)
    targets = examples.targets(names)
    targets[~targets.any(axis=1), -1] = True
    said = np.where(outcome.nearest < 0, len(head.names), outcome.nearest)[:, None] == np.arange(len(names))
    if targets[:, -1].all():
        raise InputError(f"no record has a name of the head {head.name!r}: it knows {_shown(head.names)}")
    cosines = examples.vectors @ head.directions.T
    scores = np.concatenate([cosines, 1 - cosines.max(axis=1, keepdims=True)], axis=1)
    n, rounds = len(targets), _rounds(targets.size)
    figures = {
        "accuracy": bootstrap_mean((said & targets).any(axis=1)),
        "macro F1": bootstrap(lambda rows: _macro_f1(said[rows], targets[rows]), n, rounds=rounds),
        "average precision": bootstrap(_mean_ap(scores, targets), n, rounds=rounds),
    }
    labels = [_label(*one) for one in zip(names, said.T, targets.T, scores.T, strict=True)]
    return HeadQuality(n, figures, labels, _confusions(names, said.argmax(1), targets.argmax(1)))


def _novelty(outcome: Novel, examples: Examples, novel: Sequence[str] | None) -> HeadQuality:
    wanted = set(novel or ())
    truth = np.array([bool(wanted.intersection(some)) for some in examples.labels])
    if missing := wanted.difference(examples.counts()):
        there = _shown(sorted(examples.counts()))
        raise InputError(f"no record has the label {min(missing)!r}: there is {there}")
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
    return max(_LEAST, min(_MOST, _SORTED // n_scores))


def _of_two(
    score: Callable[..., float], distances: NDArray[np.float32], truth: Bools
) -> Callable[[NDArray[np.int64]], float]:
    def of(rows: NDArray[np.int64]) -> float:
        mine = truth[rows]
        return float("nan") if mine.all() or not mine.any() else float(score(mine, distances[rows]))

    return of


def _macro_f1(said: Bools, targets: Bools) -> float:
    """The mean F1 of the labels that some record has, or was given."""
    hits = (said & targets).sum(axis=0)
    both = said.sum(axis=0) + targets.sum(axis=0)
    return float((2 * hits[both > 0] / both[both > 0]).mean())


def _mean_ap(scores: NDArray[Any], targets: Bools) -> Callable[[NDArray[np.int64]], float]:
    """The mean average precision of the labels that some record has."""

    def of(rows: NDArray[np.int64]) -> float:
        pairs = zip(scores[rows].T, targets[rows].T, strict=True)
        return float(np.mean([average_precision_score(true, score) for score, true in pairs if true.any()]))

    return of


def _label(label: str, said: Bools, true: Bools, scores: NDArray[Any]) -> LabelQuality:
    hits = int((said & true).sum())
    return LabelQuality(
        label,
        precision=hits / said.sum() if said.any() else float("nan"),
        recall=hits / true.sum() if true.any() else float("nan"),
        f1=2 * hits / (said.sum() + true.sum()) if said.any() or true.any() else float("nan"),
        average_precision=float(average_precision_score(true, scores)) if true.any() else float("nan"),
        records=int(true.sum()),
    )


def _confusions(
    labels: Sequence[str], said: NDArray[np.int64], true: NDArray[np.int64]
) -> list[tuple[str, str, int]]:
    pairs, counts = np.unique(np.stack([true, said], axis=1), axis=0, return_counts=True)
    found = [
        (labels[a], labels[b], int(count))
        for (a, b), count in zip(pairs.tolist(), counts.tolist(), strict=True)
    ]
    return sorted((one for one in found if one[0] != one[1]), key=lambda one: -one[2])


def _shown(labels: Sequence[str]) -> str:
    return ", ".join(labels[:10]) + (f" and {len(labels) - 10} more" if len(labels) > 10 else "")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and np.isnan(value) else value
