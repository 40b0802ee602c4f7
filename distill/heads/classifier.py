"""A classifier: logistic regression with cross-validated regularisation and calibration."""

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight
from threadpoolctl import threadpool_limits

from distill.heads.calibration import CalibrationScore, Method, choose, log_loss
from distill.heads.examples import FOLDS, MIN_TEXTS, Examples, folds_of
from encoder.errors import InputError
from encoder.heads.scoring import DECISION_THRESHOLD, Classifier

__all__ = ["ClassWeight", "ClassifierReport", "fit_classifier"]

ClassWeight = Literal["none", "balanced"]
"""Class weights: the same for every record, or inverse to the label's frequency."""

_CS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # scikit-learn's C, for vectors whose components are about 1
_SEARCH_SIZE = 20_000  # records for choosing regularisation and calibration
_CONSTANT_LOGIT = 5.0  # of a label that all records have, or none

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ClassifierReport:
    """How the fit went; all scores are on held-out folds.

    Attributes:
        records: the number of records.
        texts: the number of distinct texts.
        c: the best value of scikit-learn's C, the inverse of the regularisation.
        accuracy: the share of records whose set of labels is predicted exactly.
        log_loss: the log loss after calibration.
        ece: the expected calibration error after calibration.
        calibration: the chosen calibration method.
        scores: the scores of all calibration methods.
    """

    records: int
    texts: int
    c: float
    accuracy: float
    log_loss: float
    ece: float
    calibration: Method
    scores: list[CalibrationScore]


def fit_classifier(
    name: str,
    examples: Examples,
    *,
    multi_label: bool = False,
    class_weight: ClassWeight = "none",
    calibration: Method | None = None,
    seed: int = 0,
    metadata: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> tuple[Classifier, ClassifierReport]:
    """Fit a classifier.

    Args:
        name: the name of the head.
        examples: the labelled records.
        multi_label: whether a record may have any number of labels.
        class_weight: see `ClassWeight`. Probabilities are always calibrated to the unweighted records.
        calibration: the calibration method; None chooses the best.
        seed: random seed of the folds.
        metadata: what the head stores besides the report; any JSON.
        progress: called with the number of fits done and the total.

    Raises:
        InputError: there is only one label, or a label has too few texts.
    """
    labels = tuple(sorted(examples.counts()))
    _check(examples, labels, multi_label=multi_label)
    subset = _subset(examples, _SEARCH_SIZE, seed)
    folds, targets = folds_of(subset, seed=seed), subset.targets(labels)
    fit = _Fit(multi_label, class_weight)
    n_fits = len(_CS) * FOLDS + 1
    c, logits = _best_c(
        fit, subset.vectors, targets, folds, progress and (lambda done: progress(done, n_fits))
    )
    chosen, scores = choose(logits, targets, folds, multi_label=multi_label, method=calibration)
    score = next(one for one in scores if one.method == chosen.method)
    correct = _predicted(chosen(logits, multi_label=multi_label), multi_label=multi_label) == targets
    weights, bias = fit(examples.vectors, examples.targets(labels), c)
    if progress:
        progress(n_fits, n_fits)
    report = ClassifierReport(
        records=len(examples),
        texts=int(examples.texts.max()) + 1,
        c=c,
        accuracy=float(correct.all(axis=1).mean()),
        log_loss=score.log_loss,
        ece=score.ece,
        calibration=chosen.method,
        scores=scores,
    )
    head = chosen.head(name, labels, weights, bias, multi_label=multi_label)
    about = {**(metadata or {}), **asdict(report), "class_weight": class_weight, "seed": seed}
    return replace(head, metadata=about), report


def _best_c(
    fit: "_Fit",
    vectors: NDArray[np.float32],
    targets: NDArray[np.bool_],
    folds: NDArray[np.int64],
    progress: Callable[[int], None] | None,
) -> tuple[float, NDArray[np.float64]]:
    """Return the C with the lowest held-out loss, and the held-out logits of its fits, `(n, n_labels)`."""
    losses, logits = {}, {}
    for i, c in enumerate(_CS):
        logits[c] = np.empty(targets.shape)
        for fold in range(FOLDS):
            out = folds == fold
            weights, bias = fit(vectors[~out], targets[~out], c)
            logits[c][out] = vectors[out] @ weights.T + bias
            if progress:
                progress(i * FOLDS + fold + 1)
        losses[c] = fit.loss(logits[c], targets)
    best = min(losses, key=lambda one: losses[one])
    return best, logits[best]


class _Fit:
    """Fits weights with the class weights."""

    def __init__(self, multi_label: bool, class_weight: ClassWeight) -> None:
        self._multi_label = multi_label
        self._class_weight = None if class_weight == "none" else class_weight

    def __call__(
        self, vectors: NDArray[np.float32], targets: NDArray[np.bool_], c: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weights, `(n_labels, dim)`, and bias, `(n_labels,)`."""
        scale = np.float32(np.sqrt(vectors.shape[1]))  # components of about 1 suit the solver
        if self._multi_label:
            both = [self._one(vectors * scale, targets[:, k], c) for k in range(targets.shape[1])]
            weights = np.concatenate([found[0] for found in both])
            bias = np.concatenate([found[1] for found in both])
        else:
            weights, bias = self._one(vectors * scale, targets.argmax(axis=1), c)
            if len(weights) == 1:  # two labels: scikit-learn returns one row
                weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
        return weights * scale, bias

    def _one(self, vectors: Any, target: Any, c: float) -> tuple[Any, Any]:
        if (target == target[0]).all():  # a label that is constant in this fold
            return np.zeros((1, vectors.shape[1])), np.array(
                [_CONSTANT_LOGIT if target[0] else -_CONSTANT_LOGIT]
            )
        model = LogisticRegression(C=c, class_weight=self._class_weight, max_iter=300)
        # One thread: the products are small, and synchronising threads takes many times as long.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)  # 300 steps are close enough
            model.fit(vectors, target)
        return model.coef_, model.intercept_

    def loss(self, logits: NDArray[np.float64], targets: NDArray[np.bool_]) -> float:
        """Return the loss on other records, with class weights and without regularisation."""
        if self._multi_label:
            found = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
            each = [compute_sample_weight(self._class_weight, column) for column in targets.T]
            return log_loss(found, targets, multi_label=True, weights=np.stack(each, axis=1))
        found = np.exp(logits - logits.max(axis=1, keepdims=True))
        found /= found.sum(axis=1, keepdims=True)
        weights = compute_sample_weight(self._class_weight, targets.argmax(axis=1))
        return log_loss(found, targets, multi_label=False, weights=weights)


def _predicted(probabilities: NDArray[np.float64], *, multi_label: bool) -> NDArray[np.bool_]:
    if multi_label:
        return probabilities >= DECISION_THRESHOLD
    best: NDArray[np.bool_] = probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1])
    return best


def _check(examples: Examples, labels: tuple[str, ...], *, multi_label: bool) -> None:
    counts = examples.counts()
    if len(labels) < (1 if multi_label else 2):
        only = f"the label {labels[0]!r}" if labels else "no label"
        raise InputError(f"all records have {only}: a classifier needs two labels or more")
    n_texts = int(examples.texts.max()) + 1
    for label in labels:
        if counts[label] < MIN_TEXTS:
            raise InputError(
                f"only {counts[label]} distinct texts have the label {label!r}: give at least {MIN_TEXTS} "
                "per label, or leave these records out"
            )
        if multi_label and n_texts - counts[label] < MIN_TEXTS:
            raise InputError(
                f"only {n_texts - counts[label]} distinct texts lack the label {label!r}: give at least "
                f"{MIN_TEXTS}, or leave the label out"
            )


def _subset(examples: Examples, size: int, seed: int) -> Examples:
    """Draw about `size` records by their texts; keep all records of rare labels."""
    if len(examples) <= size:
        return examples
    counts = examples.counts()
    share = size / len(examples)
    draw = np.random.default_rng(seed).random(int(examples.texts.max()) + 1)[examples.texts]
    rare = [any(counts[label] * share < 10 * MIN_TEXTS for label in some) for some in examples.labels]
    rows = np.flatnonzero((draw < share) | np.array(rare))
    _, texts = np.unique(examples.texts[rows], return_inverse=True)
    labels = tuple(examples.labels[row] for row in rows.tolist())
    return Examples(examples.vectors[rows], labels, texts)
