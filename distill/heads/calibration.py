"""Calibration: make predicted probabilities match observed frequencies.

Which method is best depends on the data: isotonic regression fits any curve, and overfits small data. Each
method is therefore fitted on some folds and scored by its log loss on the others, and the best one is chosen.
Log loss is a proper scoring rule, so vague probabilities do not win.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from encoder.heads.scoring import Classifier

__all__ = ["Calibration", "CalibrationScore", "Method", "calibrate", "choose", "ece", "log_loss"]

Method = Literal["none", "temperature", "platt", "isotonic"]
"""Calibration methods: none; one factor for all logits (Guo et al., 2017); a factor and an offset for each
label (Platt, 1999); a monotonic curve for each label (Zadrozny and Elkan, 2002)."""

_BINS = 15
_DIGITS = 6  # of a probability: float32 rounding depends on a text's row beyond these
_MIN_PROBABILITY = 1e-7  # float32 resolves nothing smaller below 1
_NO_REGULARISATION = 1e6  # scikit-learn's C

Floats = NDArray[np.float64]
Targets = NDArray[np.bool_]


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities.

    Attributes:
        method: the calibration method.
        link: see `encoder.heads.scoring.Classifier`.
        scale: `(n_labels,)`, multiplies the logits.
        shift: `(n_labels,)`, is then added.
        curves: see `encoder.heads.scoring.Classifier`.
    """

    method: Method
    link: Literal["softmax", "sigmoid", "isotonic"]
    scale: Floats
    shift: Floats
    curves: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...] = ()

    def head(
        self, name: str, labels: tuple[str, ...], weights: Floats, bias: Floats, *, multi_label: bool
    ) -> Classifier:
        """Make a classifier from weights, `(n_labels, dim)`, with this calibration built in."""
        scaled = (self.scale[:, None] * weights).astype(np.float32)
        shifted = (self.scale * bias + self.shift).astype(np.float32)
        return Classifier(name, labels, scaled, shifted, self.link, multi_label, self.curves)

    def __call__(self, logits: Floats, *, multi_label: bool) -> Floats:
        """Return the probabilities, `(n, n_labels)`, of logits."""
        n_labels = logits.shape[1]
        labels, nothing = tuple(map(str, range(n_labels))), np.zeros((n_labels, 1))
        head = self.head("", labels, nothing, np.zeros(n_labels), multi_label=multi_label)
        scaled = (logits * self.scale + self.shift).astype(np.float32)
        return head.probabilities(scaled.T).T.astype(np.float64)


@dataclass(frozen=True)
class CalibrationScore:
    """The held-out scores of a calibration method."""

    method: Method
    log_loss: float
    ece: float


def calibrate(method: Method, logits: Floats, targets: Targets, *, multi_label: bool) -> Calibration:
    """Fit a calibration.

    Args:
        method: the method; `temperature` is for one label per record.
        logits: `(n, n_labels)`, of records that the weights were not fitted to.
        targets: `(n, n_labels)` bool, the true labels.
        multi_label: whether a record may have any number of labels.
    """
    n_labels = logits.shape[1]
    ones, zeros = np.ones(n_labels), np.zeros(n_labels)
    plain: Literal["softmax", "sigmoid"] = "sigmoid" if multi_label else "softmax"
    if method == "none":
        return Calibration(method, plain, ones, zeros)
    if method == "temperature":
        return Calibration(method, plain, ones * _factor(logits, targets), zeros)
    pair = not multi_label and n_labels == 2
    columns = [1] if pair else range(n_labels)
    if method == "platt":
        fitted = np.array([_platt(logits[:, k], targets[:, k]) for k in columns])
        if pair:  # the logits are -z and z
            scale, shift = fitted[0]
            return Calibration(method, plain, ones * scale / 2, np.array([-shift, shift]) / 2)
        return Calibration(method, "sigmoid", fitted[:, 0], fitted[:, 1])
    curves = [_curve(logits[:, k], targets[:, k]) for k in columns]
    if pair:
        x, y = curves[0]
        curves = [(-x[::-1], 1 - y[::-1]), (x, y)]
    return Calibration(method, "isotonic", ones, zeros, tuple(curves))


def _factor(logits: Floats, targets: Targets) -> float:
    """Return the factor of all logits that minimises log loss."""

    def loss(exponent: float) -> float:
        scaled = logits * np.exp(exponent)
        scaled -= scaled.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[targets]))

    return float(np.exp(minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded").x))


def _platt(logits: Floats, targets: NDArray[np.bool_]) -> tuple[float, float]:
    if targets.all() or not targets.any():  # constant
        return 1.0, 0.0
    fitted = LogisticRegression(C=_NO_REGULARISATION, max_iter=1000).fit(logits[:, None], targets)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def _curve(logits: Floats, targets: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(logits, targets)
    return fitted.X_thresholds_.astype(np.float32), fitted.y_thresholds_.astype(np.float32)


def choose(
    logits: Floats,
    targets: Targets,
    folds: NDArray[np.int64],
    *,
    multi_label: bool,
    method: Method | None = None,
) -> tuple[Calibration, list[CalibrationScore]]:
    """Choose the method with the lowest held-out log loss.

    Args:
        logits: see `calibrate`.
        targets: see `calibrate`.
        folds: `(n,)`, the fold of each record.
        multi_label: whether a record may have any number of labels.
        method: use this method regardless of the scores.

    Returns:
        The calibration, fitted to all records, and the scores of all methods.
    """
    methods: tuple[Method, ...] = tuple(
        m for m in get_args(Method) if not (multi_label and m == "temperature")
    )
    scores = [_cross_validate(m, logits, targets, folds, multi_label=multi_label) for m in methods]
    best = method or min(scores, key=lambda one: one.log_loss).method
    return calibrate(best, logits, targets, multi_label=multi_label), scores


def _cross_validate(
    method: Method, logits: Floats, targets: Targets, folds: NDArray[np.int64], *, multi_label: bool
) -> CalibrationScore:
    found = np.empty_like(logits)
    for fold in np.unique(folds):
        out = folds == fold
        fitted = calibrate(method, logits[~out], targets[~out], multi_label=multi_label)
        found[out] = fitted(logits[out], multi_label=multi_label)
    return CalibrationScore(
        method,
        log_loss(found, targets, multi_label=multi_label),
        ece(found, targets, multi_label=multi_label),
    )


def log_loss(
    probabilities: Floats, targets: Targets, *, multi_label: bool, weights: NDArray[Any] | None = None
) -> float:
    """Compute the mean negative log-likelihood of the true labels.

    Args:
        probabilities: `(n, n_labels)`.
        targets: `(n, n_labels)` bool.
        multi_label: whether a record may have any number of labels.
        weights: of the records, `(n,)`, or of each record's labels, `(n, n_labels)`.
    """
    found = np.clip(probabilities, _MIN_PROBABILITY, 1)
    if not multi_label:
        losses = -np.log(found[targets])
    else:
        losses = -np.where(targets, np.log(found), np.log(np.clip(1 - probabilities, _MIN_PROBABILITY, 1)))
    return float(np.average(losses, weights=weights))


def ece(probabilities: Floats, targets: Targets, *, multi_label: bool) -> float:
    """Compute the expected calibration error: the mean gap between probabilities and observed frequencies.

    Probabilities go into 15 bins of equal size (Nguyen and O'Connor, 2015): those of the most likely label,
    or of every label for multi-label records. Records with equal probabilities, to six digits, share their
    mean outcome, so the error does not depend on the order of the records.
    """
    if multi_label:
        confidence, correct = probabilities.ravel(), targets.ravel()
    else:
        rows, best = np.arange(len(targets)), probabilities.argmax(axis=1)
        confidence, correct = probabilities[rows, best], targets[rows, best]
    levels, level, counts = np.unique(np.round(confidence, _DIGITS), return_inverse=True, return_counts=True)
    gaps = np.repeat(levels - np.bincount(level, weights=correct) / counts, counts)
    return float(sum(abs(part.sum()) for part in np.array_split(gaps, _BINS)) / len(confidence))
