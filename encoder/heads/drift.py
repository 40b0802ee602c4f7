"""Drift: what the records of a baseline were like, and how far a window of records is from that.

A baseline has measures, each a number of every record whose mean is compared:

- the share of records in each group: a record belongs to the nearest of the groups' centres;
- `unusual`: the share of records that no centre is near to, one in a hundred in the baseline;
- `distant`: the same for one in twenty;
- `odd for its group`: the share of records that are farther from their group's centre, for how far apart its
  records are, than one in twenty in the baseline;
- `new words`: the share of records with a quarter or more of their tokens in no record of the baseline;
- `length`: the logarithm of the text's length in characters;
- `HEAD=LABEL`: the share of records that a classifier gives a label, or that are in no group: `HEAD=none`;
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
from encoder.tokens import TokenIds

__all__ = ["LENGTH", "NEW_WORDS", "ODD", "UNKNOWN", "UNUSUAL", "Drift", "Shift", "Unscored", "has_new_words"]

UNUSUAL, DISTANT, ODD, NEW_WORDS = "unusual", "distant", "odd for its group", "new words"
LENGTH, UNKNOWN = "length", "unknown"
"""The names of measures that every baseline has."""

_FEW_NEW = 4  # a record of which one token in so many is new has new words

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
        spreads: `(n_groups,)` float32, how far records of each group are from its centre, as 1 - cosine.
        limits: `(2,)` float32: a record with no cosine as large as the first is distant; one that is more
            than the second times its group's spread away is odd for its group.
        tokens: uint8, a bit for each token id, set if the baseline has it; ids behind the last one are new.
        labels: `HEAD=LABEL` for each label whose share is a measure.
        scored: the names of these labels' heads and the digests of their numbers.
        means: `(n_measures,)` float32: groups, then as in `measures`.
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
    spreads: Floats
    limits: Floats
    tokens: NDArray[np.uint8]
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
        return (*groups, UNUSUAL, DISTANT, ODD, NEW_WORDS, LENGTH, *self.labels, UNKNOWN)

    def nearest(self, vectors: Floats) -> tuple[NDArray[np.int64], Floats]:
        """The group of each vector of length 1, and the cosine with its centre: `(n,)` each."""
        cosines = np.empty((len(self.centres), len(vectors)), np.float32)
        products(np.ascontiguousarray(vectors), self.centres, np.zeros(len(cosines), np.float32), cosines)
        return cosines.argmax(axis=0), cosines.max(axis=0)

    def unusual(self, groups: NDArray[np.int64], similarity: Floats) -> NDArray[np.bool_]:
        """`(3, n)`: which records are unusual, distant, and odd for their group; see `nearest`."""
        odd = 1 - similarity > self.limits[1] * self.spreads[groups]
        return np.stack([similarity < self.threshold, similarity < self.limits[0], odd])

    @cached_property
    def _new_tokens(self) -> NDArray[np.bool_]:
        return np.append(np.unpackbits(self.tokens) == 0, True)  # of the ids behind the last one

    def new_words(self, tokens: TokenIds) -> NDArray[np.bool_]:
        """`(n,)`: which records have new words."""
        return has_new_words(self._new_tokens, tokens)

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


def has_new_words(new: NDArray[np.bool_], tokens: TokenIds) -> NDArray[np.bool_]:
    """Which records have new words.

    Args:
        new: `(n_ids,)` which ids are new; the last one is also asked for all ids behind it.
        tokens: of n records.

    Returns:
        `(n,)`.
    """
    found = np.concatenate([[0], np.cumsum(np.take(new, tokens.ids, mode="clip"))])[tokens.offsets]
    n_new = np.diff(found)
    return (n_new > 0) & (n_new * _FEW_NEW >= np.diff(tokens.offsets))
