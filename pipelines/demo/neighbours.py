"""Nearest neighbours of events, by brute force."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

__all__ = ["Neighbour", "nearest", "nearest_wordings"]


class Neighbour(NamedTuple):
    """A neighbour of an event: its text, its kind, and the cosine of the two vectors."""

    text: str
    kind: str
    cosine: float


def nearest_wordings(folder: Path, kinds: tuple[str, ...], n: int) -> dict[Neighbour, list[Neighbour]]:
    """For one event of each kind, its nearest neighbours in other words.

    Neighbours that differ from an earlier one only in names and numbers are skipped.

    Args:
        folder: the output of a backfill with `kind`, `message` and `reason`, normalised float32 lists.
        kinds: kinds of events.
        n: the number of neighbours of each.
    """
    columns = ["kind", "message", "reason", "embedding"]
    table = pq.read_table(folder, columns=columns)
    texts = pc.coalesce(table["message"], table["reason"]).to_pylist()
    labels = table["kind"].to_pylist()
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(texts), -1)
    found = {}
    for kind in kinds:
        row = labels.index(kind)
        found[Neighbour(texts[row], kind, 1.0)] = nearest(row, texts, labels, vectors, n)
    return found


def nearest(
    row: int, texts: list[str], labels: list[str], vectors: NDArray[np.float32], n: int
) -> list[Neighbour]:
    """The nearest neighbours of an event in other words, nearest first.

    Args:
        row: the event.
        texts: `n_events`.
        labels: `n_events`, their kinds.
        vectors: `(n_events, dim)` float32, normalised.
        n: the number of neighbours.
    """
    cosines = vectors @ vectors[row]
    shown, near = [_words(texts[row])], []
    for other in np.argsort(-cosines):
        words = _words(texts[other])
        if all(len(words & seen) < 0.5 * len(words | seen) for seen in shown):
            shown.append(words)
            near.append(Neighbour(texts[other], labels[other], float(cosines[other])))
            if len(near) == n:
                break
    return near


def _words(text: str) -> set[str]:
    return {word for word in text.lower().split() if word.isalpha()}
