"""What heads are fitted to: the vectors of records, their labels, and a way to hold some of them out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder.encoder import Encoder
from encoder.errors import InputError
from encoder.heads.scoring import unit_vectors

__all__ = ["FEWEST", "FOLDS", "Examples", "embed", "folds_of"]

FOLDS = 5
"""Parts that are held out in turn."""

FEWEST = FOLDS
"""Distinct texts of a label: with fewer, a part that is held out may have none."""

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Examples:
    """Records with labels.

    Attributes:
        vectors: `(n, dim)` float32 of length 1.
        labels: of each record: one, or any number of them.
        texts: `(n,)` int64, the same number for the same text.
    """

    vectors: NDArray[np.float32]
    labels: tuple[Labels, ...]
    texts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> Counter[str]:
        """The distinct texts of each label."""
        return Counter(label for _, label in {(t, one) for t, some in self._pairs() for one in some})

    def _pairs(self) -> list[tuple[int, Labels]]:
        return list(zip(self.texts.tolist(), self.labels, strict=True))

    def targets(self, labels: Sequence[str]) -> NDArray[np.bool_]:
        """`(n, n_labels)` bool: which of the labels each record has."""
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
        texts: of the records.
        labels: of the records.

    Raises:
        InputError: there are none.
    """
    if not texts:
        raise InputError("there are no labelled records: name files that hold some")
    numbers: dict[str, int] = {}
    same = np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.int64)
    return Examples(unit_vectors(encoder.encode(list(texts))), tuple(map(tuple, labels)), same)


def folds_of(examples: Examples, *, seed: int = 0) -> NDArray[np.int64]:
    """`(n,)` int64: the fold in which each record is held out, each about as large and with all labels in it.

    Records with the same text are in the same fold: what a head has seen would tell nothing. Of several
    labels the rarest decides, since the others are everywhere anyhow.
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
