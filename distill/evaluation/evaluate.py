"""All measures of one model on all sets."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.agreement import neighbour_overlap, rank_correlation
from distill.evaluation.classification import few_shot_accuracy
from distill.evaluation.figures import Figure, figure
from distill.evaluation.labelled import label_quality
from distill.evaluation.models import EmbeddingModel
from distill.evaluation.retrieval import search_quality
from distill.evaluation.sets import Records, Sets
from distill.evaluation.speed import texts_per_second
from distill.evaluation.sts import similarity_correlation

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """What a model came to.

    Attributes:
        model: its name.
        kind: `static`, `teacher` or `word vectors`.
        dim: its dimensions.
        n_bytes: its size, or None where it is not known.
        texts_per_second: on this machine, with all threads that the process may use; 0 if not measured.
        reference: the name of the model that agreement is with, or None.
        figures: what was measured.
        vectors: of the records, `(n_records, dim)`, or None without records; not written.
    """

    model: str
    kind: str
    dim: int
    n_bytes: int | None
    texts_per_second: float
    reference: str | None
    figures: tuple[Figure, ...]
    vectors: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """All but the vectors; NaN, which is no JSON, is None."""
        plain = asdict(self)
        del plain["vectors"]
        plain["figures"] = [
            {key: None if value != value else value for key, value in each.items()}  # noqa: PLR0124 - NaN
            for each in plain["figures"]
        ]
        return plain


def evaluate(
    model: EmbeddingModel,
    sets: Sets,
    *,
    against: Evaluation | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Measure a model.

    Args:
        model: to be measured.
        sets: on what.
        against: the reference, measured on the same sets; agreement is with its vectors of the records.
        on_progress: called with the name of the model and of each set before its turn.

    Raises:
        InputError: a set has too little for its measure.
    """

    def tell(dataset: str) -> None:
        if on_progress:
            on_progress(f"{model.name}: {dataset}")

    vectors = None
    found: list[Figure] = []
    if sets.records:
        tell(sets.records.name)
        vectors = np.asarray(model.embed(sets.records.texts), np.float32)
        found += _on_records(sets.records, vectors, against)
    found += _on_known_sets(model, sets, tell)
    tell("speed")
    return Evaluation(
        model=model.name,
        kind=model.kind,
        dim=model.dim,
        n_bytes=model.n_bytes,
        texts_per_second=texts_per_second(model, sets.texts()),
        reference=against.model if against and sets.records else None,
        figures=tuple(found),
        vectors=vectors,
    )


def _on_records(
    records: Records, vectors: NDArray[np.float32], against: Evaluation | None
) -> Iterator[Figure]:
    if against is not None and against.vectors is not None:
        yield figure("overlap@10", records.name, neighbour_overlap(vectors, against.vectors))
        yield figure("rank-correlation", records.name, rank_correlation(vectors, against.vectors))
    if records.labels is not None:
        quality = label_quality(vectors, records.labels)
        yield figure("knn", records.name, quality.knn)
        yield figure("logistic", records.name, quality.logistic)
        yield figure("average-precision", records.name, quality.average_precision)


def _on_known_sets(model: EmbeddingModel, sets: Sets, tell: Callable[[str], None]) -> Iterator[Figure]:
    for pairs in sets.pairs:
        tell(pairs.name)
        yield figure("sts", pairs.name, similarity_correlation(pairs, model.embed))
    for task in sets.classifications:
        tell(task.name)
        yield figure("classification", task.name, few_shot_accuracy(task, model.embed))
    for search in sets.retrievals:
        tell(search.name)
        gain, recall = search_quality(search, model.embed)
        yield figure("ndcg@10", search.name, gain)
        yield figure("recall@10", search.name, recall)
