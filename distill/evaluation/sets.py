"""The sets to evaluate on: your own records, and standard sets in MTEB's formats."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

__all__ = ["Classification", "Labelled", "Pairs", "Records", "Retrieval", "Sets"]


@dataclass(frozen=True)
class Labelled:
    """Texts and their labels."""

    texts: Sequence[str]
    labels: Sequence[str]


@dataclass(frozen=True)
class Records:
    """Your own records.

    Attributes:
        name: the name of the set.
        texts: distinct texts.
        labels: the label of each text, or None.
    """

    name: str
    texts: Sequence[str]
    labels: Sequence[str] | None = None


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts with human similarity scores, in any unit (STS)."""

    name: str
    first: Sequence[str]
    second: Sequence[str]
    scores: Sequence[float]


@dataclass(frozen=True)
class Classification:
    """Labelled texts for training and testing.

    Attributes:
        name: the name of the set.
        train: the texts to draw training texts from.
        test: the test texts.
        per_label: training texts of each label; MTEB's default is 8.
    """

    name: str
    train: Labelled
    test: Labelled
    per_label: int = 8


@dataclass(frozen=True)
class Retrieval:
    """Queries, passages, and relevance judgements.

    Attributes:
        name: the name of the set.
        corpus: the passages by id.
        queries: the queries by id.
        relevant: for each query id, the relevant passage ids and their gains above 0.
    """

    name: str
    corpus: Mapping[str, str]
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Sets:
    """All sets to evaluate on."""

    records: Records | None = None
    pairs: tuple[Pairs, ...] = ()
    classifications: tuple[Classification, ...] = ()
    retrievals: tuple[Retrieval, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.records or self.pairs or self.classifications or self.retrievals)

    def texts(self) -> Iterator[str]:
        """Yield every text of every set, with repetitions."""
        if self.records:
            yield from self.records.texts
        for pairs in self.pairs:
            yield from chain(pairs.first, pairs.second)
        for task in self.classifications:
            yield from chain(task.train.texts, task.test.texts)
        for search in self.retrievals:
            yield from chain(search.corpus.values(), search.queries.values())
