"""Examples: the vectors and labels that heads are fitted to, and their cross-validation folds."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder.encoder import Encoder
from encoder.errors import InputError
from encoder.heads.scoring import unit_vectors

__all__ = ["FOLDS", "MIN_TEXTS", "Examples", "embed", "folds_of"]

FOLDS = 5
"""The number of cross-validation folds."""

MIN_TEXTS = FOLDS
"""The least number of distinct texts of a label: one in each fold."""

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Examples:
    """Records with labels.

    Attributes:
        vectors: `(n, dim)` float32 of length 1.
        labels: the labels of each record: one, or any number.
        texts: `(n,)` int64, a number for each distinct text.
    """

    vectors: NDArray[np.float32]
    labels: tuple[Labels, ...]
    texts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> Counter[str]:
        """Count the distinct texts of each label."""
        return Counter(label for _, label in {(t, one) for t, some in self._pairs() for one in some})

    def _pairs(self) -> list[tuple[int, Labels]]:
        return list(zip(self.texts.tolist(), self.labels, strict=True))

    def targets(self, labels: Sequence[str]) -> NDArray[np.bool_]:
        """Return `(n, n_labels)` bool: which of the labels each record has."""
        found = np.zeros((len(self), len(labels)), np.bool_)
        column = {label: k for k, label in enumerate(labels)}
        for row, some in enumerate(self.labels):
            for label in some:
                if label in column:
                    found[row, column[label]] = True
        return found


def embed(encoder: Encoder, texts: Sequence[str], labels: Sequence[Labels]) -> Examples:
    """Embed labelled texts.

    Args:
        encoder: the model that the head will belong to.
        texts: the records' texts.
        labels: the records' labels.

    Raises:
        InputError: there are no records.
    """
    if not texts:
        raise InputError("there are no labelled records")
    numbers: dict[str, int] = {}
    same = np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.int64)
    return Examples(unit_vectors(encoder.encode(list(texts))), tuple(map(tuple, labels)), same)


def folds_of(examples: Examples, *, seed: int = 0) -> NDArray[np.int64]:
    """Return the fold of each record, `(n,)` int64, stratified by label.

    Records with the same text share a fold, so that no text is both trained and tested on. A record with
    several labels is stratified by its rarest label.
    """
    counts = examples.counts()
    n_texts = int(examples.texts.max()) + 1
    labels: list[set[str]] = [set() for _ in range(n_texts)]
    for text, some in zip(examples.texts.tolist(), examples.labels, strict=True):
        labels[text].update(some)
    keys = [min(some, key=lambda label: (counts[label], label), default="") for some in labels]
    order = np.random.default_rng(seed).permutation(n_texts)
    order = order[np.argsort(np.array(keys)[order], kind="stable")]
    folds = np.empty(n_texts, np.int64)
    folds[order] = np.arange(n_texts) % FOLDS
    return folds[examples.texts]
