"""Nearest neighbours of a few events, by brute force over a backfill's output."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

__all__ = ["Neighbour", "nearest", "nearest_wordings"]


class Neighbour(NamedTuple):
    """An event that is near to another one: its text, its kind and the cosine of the two vectors."""

    text: str
    kind: str
    cosine: float


def nearest_wordings(folder: Path, kinds: tuple[str, ...], n: int) -> dict[Neighbour, list[Neighbour]]:
    """For one event of each kind, the nearest events that say it in other words.

    Events that differ from one already shown only in names and numbers are passed over.

    Args:
        folder: the output of a backfill with `kind`, `message` and `reason`, normalised float32 lists.
        kinds: which events to ask for.
        n: neighbours of each.
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
    """The nearest events that say it in other words than one of them, nearest first.

    Args:
        row: the one that is asked for.
        texts: `n_events`.
        labels: `n_events`, their kinds.
        vectors: `(n_events, dim)` float32, normalised.
        n: how many.
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
