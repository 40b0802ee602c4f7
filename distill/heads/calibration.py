"""Calibration: probabilities that come true as often as they say.

Which way is best depends on the data: the curve of isotonic regression fits anything, and overfits where
records are few. So each is fitted to some folds and judged by its log loss on the others, and the best is
taken. The log loss is a proper score: no way wins it by being vague.
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
"""Ways to calibrate: not at all; one factor for all logits (Guo et al., 2017); a factor and a shift for each
label (Platt, 1999); a rising curve for each label (Zadrozny and Elkan, 2002)."""

_BINS = 15
_DIGITS = 6  # of a probability: float32 differs by the next one where the same text stands in another row
_TINY = 1e-7  # a probability below this is taken as this: float32 knows no finer
_FREE = 1e6  # no regularisation to speak of

Floats = NDArray[np.float64]
Targets = NDArray[np.bool_]


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities.

    Attributes:
        method: the way.
        link: see `encoder.heads.scoring.Classifier`.
        scale: `(n_labels,)`, what logits are multiplied with first.
        shift: `(n_labels,)`, what is added then.
        curves: see `encoder.heads.scoring.Classifier`.
    """

    method: Method
    link: Literal["softmax", "sigmoid", "isotonic"]
    scale: Floats
    shift: Floats
    curves: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...] = ()

    def head(
        self, name: str, labels: tuple[str, ...], weights: Floats, bias: Floats, *, several: bool
    ) -> Classifier:
        """The classifier with such weights, `(n_labels, dim)`, and this calibration in it."""
        scaled = (self.scale[:, None] * weights).astype(np.float32)
        shifted = (self.scale * bias + self.shift).astype(np.float32)
        return Classifier(name, labels, scaled, shifted, self.link, several, self.curves)

    def __call__(self, logits: Floats, *, several: bool) -> Floats:
        """The probabilities, `(n, n_labels)`, of such logits."""
        n_labels = logits.shape[1]
        labels, nothing = tuple(map(str, range(n_labels))), np.zeros((n_labels, 1))
        head = self.head("", labels, nothing, np.zeros(n_labels), several=several)
        scaled = (logits * self.scale + self.shift).astype(np.float32)
        return head.probabilities(scaled.T).T.astype(np.float64)


@dataclass(frozen=True)
class CalibrationScore:
    """What a way of calibrating came to on folds that it was not fitted to."""

    method: Method
    log_loss: float
    ece: float


def calibrate(method: Method, logits: Floats, targets: Targets, *, several: bool) -> Calibration:
    """Fit a calibration.

    Args:
        method: the way; `temperature` is of one label.
        logits: `(n, n_labels)`, of records that the weights were not fitted to.
        targets: `(n, n_labels)` bool, the labels that they have.
        several: whether a record may have any number of labels.
    """
    n_labels = logits.shape[1]
    ones, zeros = np.ones(n_labels), np.zeros(n_labels)
    plain: Literal["softmax", "sigmoid"] = "sigmoid" if several else "softmax"
    if method == "none":
        return Calibration(method, plain, ones, zeros)
    if method == "temperature":
        return Calibration(method, plain, ones * _factor(logits, targets), zeros)
    pair = not several and n_labels == 2
    columns = [1] if pair else range(n_labels)
    if method == "platt":
        fitted = np.array([_platt(logits[:, k], targets[:, k]) for k in columns])
        if pair:  # logits are -z and z, half of the difference each
            scale, shift = fitted[0]
            return Calibration(method, plain, ones * scale / 2, np.array([-shift, shift]) / 2)
        return Calibration(method, "sigmoid", fitted[:, 0], fitted[:, 1])
    curves = [_curve(logits[:, k], targets[:, k]) for k in columns]
    if pair:
        x, y = curves[0]
        curves = [(-x[::-1], 1 - y[::-1]), (x, y)]
    return Calibration(method, "isotonic", ones, zeros, tuple(curves))


def _factor(logits: Floats, targets: Targets) -> float:
    """The factor of all logits that gives the least log loss."""

    def loss(exponent: float) -> float:
        scaled = logits * np.exp(exponent)
        scaled -= scaled.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[targets]))

    return float(np.exp(minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded").x))


def _platt(logits: Floats, targets: NDArray[np.bool_]) -> tuple[float, float]:
    if targets.all() or not targets.any():  # there is nothing to learn
        return 1.0, 0.0
    fitted = LogisticRegression(C=_FREE, max_iter=1000).fit(logits[:, None], targets)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def _curve(logits: Floats, targets: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(logits, targets)
    return fitted.X_thresholds_.astype(np.float32), fitted.y_thresholds_.astype(np.float32)


def choose(
    logits: Floats, targets: Targets, folds: NDArray[np.int64], *, several: bool, method: Method | None = None
) -> tuple[Calibration, list[CalibrationScore]]:
    """The calibration that has the least log loss on folds that it was not fitted to.

    Args:
        logits: as for `calibrate`.
        targets: as for `calibrate`.
        folds: `(n,)` the fold of each record.
        several: as for `calibrate`.
        method: take this one, whatever the others come to.

    Returns:
        The calibration, fitted to all, and what each way came to.
    """
    methods: tuple[Method, ...] = tuple(m for m in get_args(Method) if not (several and m == "temperature"))
    judged = [_judge(m, logits, targets, folds, several=several) for m in methods]
    best = method or min(judged, key=lambda one: one.log_loss).method
    return calibrate(best, logits, targets, several=several), judged


def _judge(
    method: Method, logits: Floats, targets: Targets, folds: NDArray[np.int64], *, several: bool
) -> CalibrationScore:
    found = np.empty_like(logits)
    for fold in np.unique(folds):
        out = folds == fold
        fitted = calibrate(method, logits[~out], targets[~out], several=several)
        found[out] = fitted(logits[out], several=several)
    return CalibrationScore(
        method, log_loss(found, targets, several=several), ece(found, targets, several=several)
    )


def log_loss(
    probabilities: Floats, targets: Targets, *, several: bool, weights: NDArray[Any] | None = None
) -> float:
    """The mean over records of minus the logarithm of what their labels were given; of several, of each.

    Args:
        probabilities: `(n, n_labels)`.
        targets: `(n, n_labels)` bool.
        several: whether a record may have any number of labels.
        weights: of the records, `(n,)`, or of each label's, `(n, n_labels)`.
    """
    found = np.clip(probabilities, _TINY, 1)
    if not several:
        losses = -np.log(found[targets])
    else:
        losses = -np.where(targets, np.log(found), np.log(np.clip(1 - probabilities, _TINY, 1)))
    return float(np.average(losses, weights=weights))


def ece(probabilities: Floats, targets: Targets, *, several: bool) -> float:
    """The expected calibration error: by how much probabilities and what comes true differ, on average.

    Records are put into 15 bins of the same size by their probability (Nguyen and O'Connor, 2015). It is that
    of the likeliest label, or of every label where there may be several. Records of the same probability, to
    six digits, share what came true of them, so that the order of the records does not decide their bins.
    """
    if several:
        sure, right = probabilities.ravel(), targets.ravel()
    else:
        rows, best = np.arange(len(targets)), probabilities.argmax(axis=1)
        sure, right = probabilities[rows, best], targets[rows, best]
    levels, level, counts = np.unique(np.round(sure, _DIGITS), return_inverse=True, return_counts=True)
    gaps = np.repeat(levels - np.bincount(level, weights=right) / counts, counts)
    return float(sum(abs(part.sum()) for part in np.array_split(gaps, _BINS)) / len(sure))
