"""The regression: the table whose mean-pooled vectors come closest to the teacher's on a corpus.

A static model's vector of a text is linear in the table, so this is ridge regression: minimise
|A W - Y|² + λ |W - W₀|², where A is mean pooling, Y the teacher's vectors of the texts, and W₀ the
weighted token vectors, aligned to Y by least squares. Conjugate gradients solve it for all dimensions
at once, without a learning rate (Hestenes and Stiefel, 1952). The held-out texts choose λ and the number
of steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.corpus_fit.pooling import MeanPooling
from distill.corpus_fit.targets import Targets, blocks

__all__ = ["Fit", "HeldOut", "align", "fit_table"]

_ALIGN_PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # shares of the mean square
_PENALTIES = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)  # λ, the strongest first
_STEPS, _MAX_STEPS = 4, 40  # between two evaluations; for one λ
_MIN_GAIN = 2e-4  # of the cosine: less is not worth more steps
_PATIENCE = 2  # values of λ without a gain, after one with a gain, before it stops

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class HeldOut:
    """The texts on which tables are compared."""

    pooling: MeanPooling
    targets: Floats

    def cosine(self, table: Floats) -> float:
        """Return the mean cosine between a table's vectors and the teacher's."""
        means = self.pooling.means(table)
        lengths = np.linalg.norm(means, axis=1)
        return float(np.mean((means * self.targets).sum(axis=1) / np.maximum(lengths, 1e-12)))


@dataclass(frozen=True)
class Fit:
    """A fitted table.

    Attributes:
        table: `(n_tokens, dim)` float32.
        penalty: the best λ; infinity if W₀ itself is best.
        steps: steps of conjugate gradients up to this table, for all λ together.
        aligned: the held-out cosine of W₀.
        cosine: the held-out cosine of the table.
    """

    table: Floats
    penalty: float
    steps: int
    aligned: float
    cosine: float


def align(tokens: Floats, pooling: MeanPooling, targets: Targets, held_out: HeldOut) -> Floats:
    """Map token vectors linearly so that their means over texts come closest to the targets.

    Args:
        tokens: the weighted token vectors, `(n_tokens, hidden_size)` float32.
        pooling: the texts that the map is fitted to.
        targets: the teacher's vectors of these texts.
        held_out: the texts that choose the penalty.

    Returns:
        W₀, `(n_tokens, dim)` float32.
    """
    size = tokens.shape[1]
    gram, product = np.zeros((size, size)), np.zeros((size, targets.dim))
    for some in blocks(len(pooling)):
        means = pooling.part(some.start, some.stop).means(tokens).astype(np.float64)
        gram += means.T @ means
        product += means.T @ targets[some]
    unit = np.trace(gram) / size * np.eye(size)
    tables = (
        (tokens @ np.linalg.solve(gram + share * unit, product)).astype(np.float32)
        for share in _ALIGN_PENALTIES
    )
    return max(tables, key=held_out.cosine)


def fit_table(
    start: Floats,
    pooling: MeanPooling,
    targets: Targets,
    held_out: HeldOut,
    progress: Callable[[int, int], None] | None = None,
) -> Fit:
    """Fit a table to the targets, penalising its distance from `start`.

    Each λ starts from the solution of the one before, until the held-out texts gain no more. The longer the
    texts, the less each token weighs in them, and the smaller the λ at which they begin to gain.

    Args:
        start: W₀, `(n_tokens, dim)` float32.
        pooling: the texts.
        targets: the teacher's vectors of the texts.
        held_out: the texts that choose λ and the number of steps.
        progress: called after every few steps with the number done and the maximum.
    """
    pulled = sum(
        (pooling.part(s.start, s.stop).scatter(targets[s]) for s in blocks(len(pooling))),
        np.zeros_like(start),
    )
    aligned = held_out.cosine(start)
    best = Fit(start, np.inf, 0, aligned, aligned)
    current, steps, waited = start, 0, -len(_PENALTIES)  # a strong λ may change nothing
    for number, penalty in enumerate(_PENALTIES):
        solver = _ConjugateGradients(pooling, penalty, pulled + penalty * start, current)
        reached, before = best.cosine, -np.inf
        for done in range(_STEPS, _MAX_STEPS + 1, _STEPS):
            solver.step(_STEPS)
            steps += _STEPS
            cosine = held_out.cosine(solver.solution)
            if cosine > best.cosine:
                best = Fit(solver.solution.copy(), penalty, steps, aligned, cosine)
            if progress:
                progress(number * _MAX_STEPS + done, len(_PENALTIES) * _MAX_STEPS)
            if cosine < before + _MIN_GAIN:
                break
            before = cosine
        waited = 0 if best.cosine >= reached + _MIN_GAIN else waited + 1
        if waited == _PATIENCE:
            break
        current = solver.solution
    return best


class _ConjugateGradients:
    """Solves (AᵀA + λ) W = B by conjugate gradients, each column independently."""

    def __init__(self, pooling: MeanPooling, penalty: float, right: Floats, start: Floats) -> None:
        self.solution = start.copy()
        self._pooling, self._penalty = pooling, np.float32(penalty)
        self._residual = right - self._apply(start)
        self._direction = self._residual.copy()
        self._square = _squares(self._residual)

    def _apply(self, table: Floats) -> Floats:
        found: Floats = self._pooling.gram(table) + self._penalty * table
        return found

    def step(self, n: int) -> None:
        for _ in range(n):
            image = self._apply(self._direction)
            length = self._square / (np.einsum("ij,ij->j", self._direction, image) + 1e-12)
            self.solution += length * self._direction
            self._residual -= length * image
            square = _squares(self._residual)
            self._direction *= square / (self._square + 1e-12)
            self._direction += self._residual
            self._square = square


def _squares(table: Floats) -> Any:
    return np.einsum("ij,ij->j", table, table)
