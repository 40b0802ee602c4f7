"""Heads: small models that predict labels, nearest prototypes or novelty from a text's vector.

`distill.heads` fits heads; this module scores them. Most heads need the scalar products of a vector with a
few directions, and one kernel computes the products of all of them in one pass over the vectors; known cases
are searched. Groups are found by the texts themselves. Vectors are float32, have all dimensions and length 1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.arrays.texts import TextBuffers, read_texts
from encoder.errors import ConfigurationError, InputError
from encoder.heads.cases import Cases, Known
from encoder.heads.drift import Drift, Unscored
from encoder.heads.groups import Grouped, Groups
from encoder.kernels.products import products
from encoder.masks import Masks

__all__ = [
    "DECISION_THRESHOLD",
    "Classifier",
    "Head",
    "Heads",
    "Labelled",
    "Nearest",
    "Novel",
    "Novelty",
    "Outcome",
    "Prototypes",
    "Tagged",
    "unit_vectors",
]

Link = Literal["softmax", "sigmoid", "isotonic"]
Floats = NDArray[np.float32]
_LARGE = 80  # larger logits are certain, and their exp overflows
DECISION_THRESHOLD = 0.5
"""The probability from which a text gets a label, if it may have more than one."""


class Labelled(NamedTuple):
    """One label for each text: `(n,)` int32, its index, and `(n,)` float32, its probability."""

    label: NDArray[np.int32]
    score: Floats


class Tagged(NamedTuple):
    """Any number of labels for each text: `(n_labels, n)` float32, their probabilities."""

    scores: Floats


class Nearest(NamedTuple):
    """`(n,)` int32, the index of the nearest prototype or -1 if none is near; `(n,)` float32, its cosine."""

    nearest: NDArray[np.int32]
    similarity: Floats


class Novel(NamedTuple):
    """`(n,)` float32, the distance from normal texts; `(n,)` bool, whether it exceeds the threshold."""

    distance: Floats
    novel: NDArray[np.bool_]


Outcome = Labelled | Tagged | Nearest | Novel | Known | Grouped | Unscored


@dataclass(frozen=True, eq=False)
class Classifier:
    """Calibrated logistic regression.

    The logits are `weights @ vector + bias`, which include the factors of the calibration. `softmax` and
    `sigmoid` turn them into probabilities; `isotonic` interpolates a curve for each label. If a text has
    exactly one label, the probabilities of `sigmoid` and `isotonic` are divided by their sum.

    Attributes:
        name: the head's name.
        labels: the labels.
        weights: `(n_labels, dim)` float32.
        bias: `(n_labels,)` float32.
        link: how logits become probabilities.
        multi_label: whether a text may have any number of labels.
        curves: for `isotonic`, for each label `(n_points,)` ascending logits and their probabilities.
        metadata: how it was fitted; any JSON.
    """

    kind: ClassVar[Literal["classifier"]] = "classifier"

    name: str
    labels: tuple[str, ...]
    weights: Floats
    bias: Floats
    link: Link = "softmax"
    multi_label: bool = False
    curves: tuple[tuple[Floats, Floats], ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def directions(self) -> Floats:
        """`(n_labels, dim)`."""
        return self.weights

    @property
    def dim(self) -> int:
        """The number of dimensions of vectors."""
        return int(self.weights.shape[1])

    @property
    def offsets(self) -> Floats:
        """`(n_labels,)`."""
        return self.bias

    def probabilities(self, logits: Floats) -> Floats:
        """The probabilities for logits; both `(n_labels, n)` float32."""
        if self.link == "softmax":
            found: Any = np.exp(logits - logits.max(axis=0))
        elif self.link == "sigmoid":
            found = 1 / (1 + np.exp(-np.clip(logits, -_LARGE, _LARGE)))
        else:
            curves = zip(logits, self.curves, strict=True)
            found = np.array([np.interp(row, *curve) for row, curve in curves], np.float32)
        if self.multi_label:
            return np.asarray(found, np.float32)
        total = found.sum(axis=0)
        even: Floats = np.full_like(found, 1 / len(found))
        np.divide(found, total, out=even, where=total > 0)
        return even

    def outcome(self, logits: Floats) -> Labelled | Tagged:
        """The labels of texts with these logits, `(n_labels, n)`."""
        if self.multi_label:
            return Tagged(self.probabilities(logits))
        if self.link == "softmax":  # the same result, without the other probabilities
            logits = logits - logits.max(axis=0)
            return Labelled(_first_at(logits, 0), 1 / np.exp(logits).sum(axis=0))
        scores = self.probabilities(logits)
        highest = scores.max(axis=0)
        return Labelled(_first_at(scores, highest), highest)


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Named prototypes: a text is assigned to the nearest one, if that is near enough.

    Attributes:
        name: the head's name.
        names: the prototypes' names.
        directions: `(n_names, dim)` float32 of length 1, the mean of each prototype's examples.
        threshold: the least cosine that is near enough.
        metadata: how it was fitted; any JSON.
    """

    kind: ClassVar[Literal["prototypes"]] = "prototypes"

    name: str
    names: tuple[str, ...]
    directions: Floats
    threshold: float
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """The number of dimensions of vectors."""
        return int(self.directions.shape[1])

    @cached_property
    def offsets(self) -> Floats:
        """`(n_names,)` zeros."""
        return np.zeros(len(self.names), np.float32)

    def outcome(self, cosines: Floats) -> Nearest:
        """The nearest prototypes of texts with these cosines, `(n_names, n)`."""
        highest = cosines.max(axis=0)
        nearest = _first_at(cosines, highest)
        nearest[highest < self.threshold] = -1
        return Nearest(nearest, highest)


@dataclass(frozen=True, eq=False)
class Novelty:
    """The Mahalanobis distance of a text from normal texts.

    Only the directions in which normal texts vary most have a variance of their own; all others share one.
    So a few products suffice: with `z = directions @ vector + offsets`, the squared distance is
    `z[-1] + squares @ z[:-1] ** 2` (derived in `distill.heads.novelty`).

    Attributes:
        name: the head's name.
        directions: `(n_axes + 1, dim)` float32.
        offsets: `(n_axes + 1,)` float32.
        squares: `(n_axes,)` float32.
        threshold: the distance above which a text is novel.
        metadata: how it was fitted; any JSON.
    """

    kind: ClassVar[Literal["novelty"]] = "novelty"

    name: str
    directions: Floats
    offsets: Floats
    squares: Floats
    threshold: float
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """The number of dimensions of vectors."""
        return int(self.directions.shape[1])

    def outcome(self, along: Floats) -> Novel:
        """The distances of texts with these products, `(n_axes + 1, n)`."""
        square = along[-1] + np.einsum("k,kn->n", self.squares, np.square(along[:-1]))
        distance = np.sqrt(np.maximum(square, 0))
        return Novel(distance, distance > self.threshold)


Head = Classifier | Prototypes | Novelty | Cases | Groups | Drift


class Heads:
    """The heads of a version, scored together.

    Attributes:
        heads: the heads, sorted by name.
    """

    def __init__(self, heads: Iterable[Head] = (), *, unit: bool = True, masks: Masks | None = None) -> None:
        """Combine heads.

        Args:
            heads: heads for vectors of the same number of dimensions.
            unit: whether the vectors already have length 1.
            masks: what the model masks in texts.
        """
        self.heads = tuple(sorted(heads, key=lambda head: head.name))
        self._unit, self._masks = unit, masks or Masks()
        if not self.heads:
            return
        self._dim = self.heads[0].dim
        linear = [head for head in self.heads if not isinstance(head, Cases | Groups | Drift)]
        self._ends = np.cumsum([len(head.directions) for head in linear])
        none = np.empty((0, self._dim), np.float32)
        self._directions = np.concatenate([none, *(head.directions for head in linear)])
        self._offsets = np.concatenate([none[:, 0], *(head.offsets for head in linear)])

    def __len__(self) -> int:
        return len(self.heads)

    @property
    def names(self) -> tuple[str, ...]:
        """The heads' names, sorted."""
        return tuple(head.name for head in self.heads)

    def only(self, names: Sequence[str]) -> "Heads":
        """Some of the heads.

        Raises:
            ConfigurationError: there is no head of that name.
        """
        for name in names:
            if name not in self.names:
                there = ", ".join(self.names) or "none"
                raise ConfigurationError(f"the model has no head {name!r}: it has {there}")
        some = (head for head in self.heads if head.name in names)
        return Heads(some, unit=self._unit, masks=self._masks)

    @property
    def read_texts(self) -> bool:
        """Whether a head reads the texts, so that they must be given."""
        return any(isinstance(head, Groups) for head in self.heads)

    def __call__(self, vectors: NDArray[Any], texts: Any = None, *, masked: bool = False) -> list[Outcome]:
        """Score vectors.

        Args:
            vectors: `(n, dim)` float32, of all dimensions, as `Encoder.encode` returns them.
            texts: the texts of the vectors, as for `Encoder.encode`; groups need them.
            masked: whether the texts are masked already.

        Returns:
            The outcome of each head, in the order of `heads`. A vector gives the same bits in any batch.

        Raises:
            InputError: the vectors have another shape or type, or the texts are missing or of another number.
        """
        if not self.heads:
            return []
        if vectors.dtype != np.float32 or vectors.shape[1:] != (self._dim,):
            raise InputError(
                f"heads score vectors of {self._dim} float32, not {vectors.dtype} of shape {vectors.shape}: "
                "encode without dims and dtype"
            )
        if not self._unit:
            vectors = unit_vectors(vectors)
        vectors = np.ascontiguousarray(vectors)
        found = np.empty((len(self._directions), len(vectors)), np.float32)
        products(vectors, self._directions, self._offsets, found)
        parts = iter(np.split(found, self._ends))
        read = self._texts(texts, len(vectors), masked=masked) if self.read_texts else []
        return [
            head.outcome(vectors, read)
            if isinstance(head, Groups)
            else head.outcome(vectors if isinstance(head, Cases | Drift) else next(parts))
            for head in self.heads
        ]

    def _texts(self, texts: Any, n: int, *, masked: bool) -> list[TextBuffers]:
        """The masked texts of n vectors."""
        if texts is None:
            raise InputError("groups are found by texts: give the texts of the vectors too")
        parts = read_texts(texts)
        if sum(len(part.offsets) - 1 for part in parts) != n:
            raise InputError(f"there are {n} vectors: give as many texts")
        return parts if masked or not self._masks else [self._masks.buffers(part) for part in parts]


def unit_vectors(vectors: NDArray[Any]) -> Floats:
    """Vectors scaled to length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)  # type: ignore[no-any-return] # NumPy's types are wider


def _first_at(rows: Floats, value: Any) -> NDArray[np.int32]:
    """The first row that has a value, for each column of `(k, n)` rows; faster than `argmax`."""
    found = np.zeros(rows.shape[1], np.int32)
    for k in range(len(rows) - 1, -1, -1):
        found[rows[k] == value] = k
    return found
