"""Groups of records for the colours of the map: labels, groups of a head, or clusters of vectors."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from distill.evaluation.cosines import unit
from encoder.heads.groups import Groups as RecordGroups

__all__ = ["MOST_GROUPS", "Groups", "by_cluster", "by_head", "by_label"]

MOST_GROUPS = 8
"""The number of distinguishable colours; further labels share one group."""

_OTHER = "other labels"
_OTHER_GROUPS, _NO_GROUP = "other groups", "in no group"
_WORD = re.compile(r"[^\W\d_]{3,}")
_WORDS = 3  # of a cluster's name


class Groups(NamedTuple):
    """Groups of records.

    Attributes:
        names: the groups' names, largest group first.
        numbers: the group of each record, `(n_records,)`.
    """

    names: list[str]
    numbers: NDArray[np.int64]


def by_label(labels: Sequence[str]) -> Groups:
    """Make one group per label; with more labels than colours, the rarest share the last group."""
    ranked = [label for label, _ in Counter(labels).most_common()]
    names = ranked if len(ranked) <= MOST_GROUPS else [*ranked[: MOST_GROUPS - 1], _OTHER]
    number = {label: min(i, len(names) - 1) for i, label in enumerate(ranked)}
    return Groups(names, np.array([number[label] for label in labels]))


def by_head(head: RecordGroups, found: NDArray[np.int32]) -> Groups:
    """Make one group for each of a head's that most records are in; the others share one.

    Args:
        head: the head.
        found: `(n_records,)`, the group of each record; -1 for none.
    """
    largest = [number for number, _ in Counter(found[found >= 0].tolist()).most_common(MOST_GROUPS - 2)]
    titles = head.titles.tolist()
    parts = [(titles[number], found == number) for number in largest]
    parts += [(_OTHER_GROUPS, (found >= 0) & ~np.isin(found, largest)), (_NO_GROUP, found < 0)]
    parts = [(name, members) for name, members in parts if members.any()]
    numbers = np.zeros(len(found), np.int64)
    for number, (_, members) in enumerate(parts):
        numbers[members] = number
    return Groups([name for name, _ in parts], numbers)


def by_cluster(vectors: NDArray[Any], texts: Sequence[str] | None = None) -> Groups:
    """Cluster vectors by k-means.

    Args:
        vectors: `(n_records, dim)`.
        texts: the records' texts, to name clusters by their distinctive words; without texts, they are
            numbered.
    """
    rows = unit(vectors)
    n_clusters = min(MOST_GROUPS, len(np.unique(rows, axis=0)))
    with threadpool_limits(1):  # threads block one another on busy machines
        found = KMeans(n_clusters, n_init=3, random_state=0).fit_predict(rows)
    order = np.argsort(-np.bincount(found, minlength=n_clusters), kind="stable")
    numbers = np.argsort(order)[found]
    names = [f"cluster {i + 1}" for i in range(n_clusters)]
    return Groups(names if texts is None else _distinctive_words(texts, numbers, names), numbers)


def _distinctive_words(texts: Sequence[str], numbers: NDArray[np.int64], names: list[str]) -> list[str]:
    """Name each cluster by the words that are more frequent in its texts than overall."""
    words = [dict.fromkeys(_WORD.findall(text.lower())) for text in texts]
    overall = Counter(word for each in words for word in each)
    named = []
    for number, name in enumerate(names):
        own = np.flatnonzero(numbers == number)
        inside = Counter(word for i in own for word in words[i])
        share = {word: count**2 / overall[word] for word, count in inside.items()}
        distinctive = sorted(share, key=share.__getitem__, reverse=True)[:_WORDS]
        named.append(", ".join(distinctive) or name)
    return named
