"""Known cases: the labelled records, such as past frauds, that a text is nearest to.

Ids, labels and vectors of the cases are stored; their texts are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoder.heads.vector_index import Cells, Index

__all__ = ["MOST_NEAREST", "Cases", "Known", "Strings"]

MOST_NEAREST = 100
"""How many of the nearest cases a head may give."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Strings:
    """Many strings in two arrays, as Arrow has them; a million of them take no Python objects.

    Attributes:
        data: uint8, their UTF-8 bytes, one after the other.
        ends: `(n + 1,)` int64, where each begins, and where the last one ends.
    """

    data: NDArray[np.uint8]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Strings":
        """Pack strings."""
        encoded = [text.encode() for text in texts]
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends) - 1

    @cached_property
    def arrow(self) -> pa.Array:
        """Them as an Arrow array, without a copy."""
        buffers = [None, pa.py_buffer(self.ends), pa.py_buffer(self.data)]
        return pa.Array.from_buffers(pa.large_string(), len(self), buffers)

    def tolist(self) -> list[str]:
        """All of them."""
        data, ends = self.data.tobytes(), self.ends.tolist()
        return [data[a:b].decode() for a, b in pairwise(ends)]


class Known(NamedTuple):
    """The nearest cases of texts, nearest first.

    Attributes:
        case: `(n, k)` int32, their numbers; -1 where no further one is near enough.
        similarity: `(n, k)` float32, their cosines; those that are not near enough too.
    """

    case: NDArray[np.int32]
    similarity: Floats

    def votes(self, labels: NDArray[np.int32], n_labels: int) -> tuple[NDArray[np.int32], Floats]:
        """The label of the cases of each text with the largest sum of cosines, and its share of all of them.

        Args:
            labels: `(n_cases,)` the label of each case.
            n_labels: how many labels there are.

        Returns:
            `(n,)` int32, the first of equals, -1 where no case is near; `(n,)` float32.
        """
        near = self.case >= 0
        rows = np.nonzero(near)[0]
        weights = np.maximum(self.similarity[near], np.finfo(np.float32).tiny)
        voted, place = np.unique(rows * n_labels + labels[self.case[near]], return_inverse=True)
        sums = np.bincount(place, weights, len(voted))
        texts, label = voted // n_labels, voted % n_labels
        order = np.lexsort((label, -sums, texts))
        first = order[np.unique(texts[order], return_index=True)[1]]
        winner, share = np.full(len(near), -1, np.int32), np.zeros(len(near), np.float32)
        winner[texts[first]] = label[first]
        share[texts[first]] = sums[first] / np.bincount(rows, weights, len(near))[texts[first]]
        return winner, share


@dataclass(frozen=True, eq=False)
class Cases:
    """Known cases: a text is like the nearest ones, if they are near enough.

    Attributes:
        name: the head's name.
        ids: `(n_cases,)` the cases' ids, all different.
        labels: the labels.
        label: `(n_cases,)` int32, the index of each case's label.
        vectors: `(n_cases, dim)` float16 of length 1.
        cells: where the vectors are, if they are too many for an exact search.
        threshold: the least cosine that is near enough.
        nearest: how many of the nearest cases a text gets.
        metadata: how it was fitted; any JSON.
    """

    kind: ClassVar[Literal["cases"]] = "cases"

    name: str
    ids: Strings
    labels: tuple[str, ...]
    label: NDArray[np.int32]
    vectors: NDArray[np.float16]
    threshold: float
    nearest: int = 1
    metadata: dict[str, Any] = field(default_factory=dict)
    cells: Cells | None = None

    @property
    def dim(self) -> int:
        """The number of dimensions of vectors."""
        return int(self.vectors.shape[1])

    @cached_property
    def index(self) -> Index:
        """What finds the nearest cases.

        Raises:
            ValueError: vectors are longer than 1, or the codes in `cells` are not theirs.
        """
        return Index(self.vectors, self.cells)

    @cached_property
    def arrow(self) -> tuple[pa.Array, pa.Array, pa.Array]:
        """Arrow arrays: the ids, without a copy; the labels; and the index of each case's label."""
        return self.ids.arrow, pa.array(self.labels, pa.string()), pa.array(self.label)

    def search(self, vectors: Floats, count: int) -> Known:
        """The nearest cases of vectors of length 1, whatever their cosines; a vector of zeros has none.

        Args:
            vectors: `(n, dim)` float32.
            count: how many, at most as many as there are cases.
        """
        found = Known(np.empty((len(vectors), count), np.int32), np.empty((len(vectors), count), np.float32))
        self.index.search(vectors, *found)
        nothing = ~vectors.any(axis=1)
        found.case[nothing], found.similarity[nothing] = -1, 0
        return found

    def outcome(self, vectors: Floats) -> Known:
        """The nearest cases of vectors of length 1 that are near enough."""
        found = self.search(vectors, min(self.nearest, len(self.vectors)))
        found.case[found.similarity < self.threshold] = -1
        return found
