"""Drift: what the records of a baseline were like, and how far a window of records is from that.

A baseline has measures, each a number of every record whose mean is compared:

- the share of records in each group: a record belongs to the nearest of the groups' centres;
- `unusual`: the share of records that no centre is near to;
- `length`: the logarithm of the text's length in characters;
- `HEAD=LABEL`: the share of records that a classifier gives a label;
- `unknown`: the share of a text's tokens that the model does not know.

The shift of a measure with mean μ and variance v is |mean of the window - μ| / √(v (1/n + 1/N)) for a window
of n records and a baseline of N. The drift of a window is the largest shift, divided by the level that one in
a thousand windows of n records of the baseline exceeds (`distill.heads.drift` finds the levels).
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.products import products

__all__ = ["LENGTH", "UNKNOWN", "UNUSUAL", "Drift", "Shift", "Unscored"]

UNUSUAL, LENGTH, UNKNOWN = "unusual", "length", "unknown"
"""The names of measures that every baseline has."""

Floats = NDArray[np.float32]


class Unscored(NamedTuple):
    """No outcome of so many texts: the head is about windows of records, not about one."""

    n_texts: int


class Shift(NamedTuple):
    """How far a window is from a baseline.

    Attributes:
        drift: the largest shift of a measure; 1 is the level that one in a thousand windows exceeds.
        measure: its name.
        expected: the measure's mean in the baseline.
        found: its mean in the window.
        means: `(n_measures,)` the means of all measures in the window.
        drifts: `(n_measures,)` their shifts, each divided by the level.
    """

    drift: float
    measure: str
    expected: float
    found: float
    means: NDArray[np.float64]
    drifts: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Drift:
    """A baseline.

    Attributes:
        name: the head's name.
        centres: `(n_groups, dim)` float32 of length 1.
        threshold: a record with no cosine as large as this is unusual.
        labels: `HEAD=LABEL` for each label whose share is a measure.
        scored: the names of these labels' heads and the digests of their numbers.
        means: `(n_measures,)` float32: groups, unusual, length, labels, unknown.
        variances: `(n_measures,)` float32, of one record; larger where neighbouring records are alike.
        counts: `(n_measures,)` float32: how many records of the baseline were measured.
        sizes: `(n_levels,)` float32, ascending numbers of records in a window.
        levels: `(n_levels,)` float32, the largest shift that one in a thousand of them exceeds.
        metadata: how it was fitted; any JSON.
    """

    kind: ClassVar[Literal["drift"]] = "drift"

    name: str
    centres: Floats
    threshold: float
    labels: tuple[str, ...]
    scored: dict[str, str]
    means: Floats
    variances: Floats
    counts: Floats
    sizes: Floats
    levels: Floats
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """The number of dimensions of vectors."""
        return int(self.centres.shape[1])

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures."""
        groups = (f"group {k}" for k in range(1, len(self.centres) + 1))
        return (*groups, UNUSUAL, LENGTH, *self.labels, UNKNOWN)

    def nearest(self, vectors: Floats) -> tuple[NDArray[np.int64], Floats]:
        """The group of each vector of length 1, and the cosine with its centre: `(n,)` each."""
        cosines = np.empty((len(self.centres), len(vectors)), np.float32)
        products(np.ascontiguousarray(vectors), self.centres, np.zeros(len(cosines), np.float32), cosines)
        return cosines.argmax(axis=0), cosines.max(axis=0)

    def level(self, n_records: NDArray[np.float64]) -> NDArray[np.float64]:
        """The largest shift that one in a thousand windows of so many records exceeds."""
        return np.interp(np.log(np.maximum(n_records, 1)), np.log(self.sizes), self.levels)

    def shift(self, sums: NDArray[np.float64], counts: NDArray[np.float64]) -> Shift:
        """Hold a window against the baseline.

        Args:
            sums: `(n_measures,)` the sums of the measures over the window's records.
            counts: `(n_measures,)` of how many records each; a measure of none is left out.
        """
        n = np.maximum(counts, 1)
        means = sums / n
        errors = np.sqrt(self.variances.astype(np.float64) * (1 / n + 1 / self.counts.astype(np.float64)))
        drifts = np.abs(means - self.means) / errors / self.level(n)
        drifts[counts == 0] = 0
        most = int(drifts.argmax())
        return Shift(
            float(drifts[most]),
            self.measures[most],
            float(self.means[most]),
            float(means[most]),
            means,
            drifts,
        )

    def outcome(self, vectors: Floats) -> Unscored:
        """Nothing of a single record."""
        return Unscored(len(vectors))
