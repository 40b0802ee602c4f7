"""A classifier: logistic regression on vectors; held-out folds choose regularisation and calibration."""

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
from distill.heads.examples import FEWEST, FOLDS, Examples, folds_of
from encoder.errors import InputError
from encoder.heads.scoring import DECISION_THRESHOLD, Classifier

__all__ = ["ClassWeight", "ClassifierReport", "fit_classifier"]

ClassWeight = Literal["none", "balanced"]
"""What a label's records weigh: the same each, or the less the more of them there are."""

_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # scikit-learn's C, for vectors whose components are about 1
_SEARCHED = 20_000  # records that regularisation and calibration are chosen on
_SURE = 5.0  # the logit of a label that all records have, or none

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class ClassifierReport:
    """What a fit came to, all figures on folds that were held out.

    Attributes:
        records: that were fitted to.
        texts: the distinct texts among them.
        c: scikit-learn's C that was best: the inverse of the regularisation.
        accuracy: the share of records whose labels were all found, and no others.
        log_loss: see `distill.heads.calibration`.
        ece: see `distill.heads.calibration`.
        calibration: the way that was taken.
        judged: what each way came to.
    """

    records: int
    texts: int
    c: float
    accuracy: float
    log_loss: float
    ece: float
    calibration: Method
    judged: list[CalibrationScore]


def fit_classifier(
    name: str,
    examples: Examples,
    *,
    several: bool = False,
    class_weight: ClassWeight = "none",
    calibration: Method | None = None,
    seed: int = 0,
    facts: dict[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Classifier, ClassifierReport]:
    """Fit a classifier.

    Args:
        name: of the head.
        examples: records with their labels.
        several: whether a record may have any number of labels.
        class_weight: see `ClassWeight`. Probabilities are calibrated to the records as they are, either way.
        calibration: the way to calibrate; None takes the best.
        seed: of the folds.
        facts: what the head is to remember besides the report.
        on_progress: called with the fits that are done, and of how many.

    Raises:
        InputError: there is one label only, or a label has too few texts.
    """
    labels = tuple(sorted(examples.counts()))
    _check(examples, labels, several=several)
    searched = _part(examples, _SEARCHED, seed)
    folds = folds_of(searched, seed=seed)
    targets = searched.targets(labels)
    fit = _Fit(several, class_weight)
    n_fits = len(_PENALTIES) * FOLDS + 1
    losses, logits = {}, {}
    for i, c in enumerate(_PENALTIES):
        logits[c] = np.empty(targets.shape)
        for fold in range(FOLDS):
            out = folds == fold
            weights, bias = fit(searched.vectors[~out], targets[~out], c)
            logits[c][out] = searched.vectors[out] @ weights.T + bias
            if on_progress:
                on_progress(i * FOLDS + fold + 1, n_fits)
        losses[c] = fit.loss(logits[c], targets)
    c = min(losses, key=lambda one: losses[one])
    chosen, judged = choose(logits[c], targets, folds, several=several, method=calibration)
    found = next(one for one in judged if one.method == chosen.method)
    right = _predicted(chosen(logits[c], several=several), several=several) == targets
    weights, bias = fit(examples.vectors, examples.targets(labels), c)
    if on_progress:
        on_progress(n_fits, n_fits)
    report = ClassifierReport(
        records=len(examples),
        texts=int(examples.texts.max()) + 1,
        c=c,
        accuracy=float(right.all(axis=1).mean()),
        log_loss=found.log_loss,
        ece=found.ece,
        calibration=chosen.method,
        judged=judged,
    )
    head = chosen.head(name, labels, weights, bias, several=several)
    about = {**(facts or {}), **asdict(report), "class_weight": class_weight, "seed": seed}
    return replace(head, facts=about), report


class _Fit:
    """One fit of weights; a label and its record weigh what `class_weight` says."""

    def __init__(self, several: bool, class_weight: ClassWeight) -> None:
        self._several = several
        self._class_weight = None if class_weight == "none" else class_weight

    def __call__(
        self, vectors: NDArray[np.float32], targets: NDArray[np.bool_], c: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights `(n_labels, dim)` and bias `(n_labels,)`."""
        scale = np.float32(np.sqrt(vectors.shape[1]))  # components of about 1, which the solver likes
        if self._several:
            both = [self._one(vectors * scale, targets[:, k], c) for k in range(targets.shape[1])]
            weights = np.concatenate([found[0] for found in both])
            bias = np.concatenate([found[1] for found in both])
        else:
            weights, bias = self._one(vectors * scale, targets.argmax(axis=1), c)
            if len(weights) == 1:  # two labels: scikit-learn keeps the difference
                weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
        return weights * scale, bias

    def _one(self, vectors: Any, target: Any, c: float) -> tuple[Any, Any]:
        if (target == target[0]).all():  # of several labels, one that is in this fold alone
            return np.zeros((1, vectors.shape[1])), np.array([_SURE if target[0] else -_SURE])
        model = LogisticRegression(C=c, class_weight=self._class_weight, max_iter=300)
        # One thread: such products are small, and threads that wait for each other take many times as long.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)  # so many steps are close enough
            model.fit(vectors, target)
        return model.coef_, model.intercept_

    def loss(self, logits: NDArray[np.float64], targets: NDArray[np.bool_]) -> float:
        """The loss that was minimised, on other records and without the regularisation."""
        if self._several:
            found = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
            each = [compute_sample_weight(self._class_weight, column) for column in targets.T]
            return log_loss(found, targets, several=True, weights=np.stack(each, axis=1))
        found = np.exp(logits - logits.max(axis=1, keepdims=True))
        found /= found.sum(axis=1, keepdims=True)
        weights = compute_sample_weight(self._class_weight, targets.argmax(axis=1))
        return log_loss(found, targets, several=False, weights=weights)


def _predicted(probabilities: NDArray[np.float64], *, several: bool) -> NDArray[np.bool_]:
    if several:
        return probabilities >= DECISION_THRESHOLD
    best: NDArray[np.bool_] = probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1])
    return best


def _check(examples: Examples, labels: tuple[str, ...], *, several: bool) -> None:
    counts = examples.counts()
    if len(labels) < (1 if several else 2):
        only = f"the label {labels[0]!r}" if labels else "no label"
        raise InputError(f"all records have {only}: a classifier needs records of two labels or more")
    n_texts = int(examples.texts.max()) + 1
    for label in labels:
        if counts[label] < FEWEST:
            raise InputError(
                f"only {counts[label]} distinct texts have the label {label!r}: give at least {FEWEST} of "
                "each label, or leave its records out"
            )
        if several and n_texts - counts[label] < FEWEST:
            raise InputError(
                f"only {n_texts - counts[label]} distinct texts are without the label {label!r}: give at "
                f"least {FEWEST}, or leave it out"
            )


def _part(examples: Examples, size: int, seed: int) -> Examples:
    """Some of the records, drawn by their texts, the rarest labels' all of them; all where they are few."""
    if len(examples) <= size:
        return examples
    counts = examples.counts()
    share = size / len(examples)
    lot = np.random.default_rng(seed).random(int(examples.texts.max()) + 1)[examples.texts]
    few = [any(counts[label] * share < 10 * FEWEST for label in some) for some in examples.labels]
    rows = np.flatnonzero((lot < share) | np.array(few))
    _, texts = np.unique(examples.texts[rows], return_inverse=True)
    labels = tuple(examples.labels[row] for row in rows.tolist())
    return Examples(examples.vectors[rows], labels, texts)
