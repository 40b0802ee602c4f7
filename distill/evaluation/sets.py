"""What a model is measured on, in memory: the user's own records, and sets as MTEB has them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

__all__ = ["Classification", "Labelled", "Pairs", "Records", "Retrieval", "Sets"]


@dataclass(frozen=True)
class Labelled:
    """Texts and the label of each."""

    texts: Sequence[str]
    labels: Sequence[str]


@dataclass(frozen=True)
class Records:
    """The user's own records.

    Attributes:
        name: how the set is called in figures.
        texts: distinct texts.
        labels: the label of each, or None where there are none.
    """

    name: str
    texts: Sequence[str]
    labels: Sequence[str] | None = None


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts and how similar people find them, in any unit (STS)."""

    name: str
    first: Sequence[str]
    second: Sequence[str]
    scores: Sequence[float]


@dataclass(frozen=True)
class Classification:
    """Labelled texts to learn from and to be asked about.

    Attributes:
        name: how the set is called in figures.
        train: what is learnt from.
        test: what is asked about.
        per_label: training texts of each label that a classifier learns from; MTEB's default is 8.
    """

    name: str
    train: Labelled
    test: Labelled
    per_label: int = 8


@dataclass(frozen=True)
class Retrieval:
    """Queries, passages, and which passage answers which query.

    Attributes:
        name: how the set is called in figures.
        corpus: the passages by their ids.
        queries: the queries by their ids.
        relevant: by query id, the gain of each passage that answers it, above 0.
    """

    name: str
    corpus: Mapping[str, str]
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Sets:
    """All that a model is measured on."""

    records: Records | None = None
    pairs: tuple[Pairs, ...] = ()
    classifications: tuple[Classification, ...] = ()
    retrievals: tuple[Retrieval, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.records or self.pairs or self.classifications or self.retrievals)

    def texts(self) -> Iterator[str]:
        """Every text of every set, some of them several times."""
        if self.records:
            yield from self.records.texts
        for pairs in self.pairs:
            yield from chain(pairs.first, pairs.second)
        for task in self.classifications:
            yield from chain(task.train.texts, task.test.texts)
        for search in self.retrievals:
            yield from chain(search.corpus.values(), search.queries.values())
