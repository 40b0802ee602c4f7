"""Evaluate models on sets, and put their figures side by side."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.agreement import neighbour_overlap, rank_correlation
from distill.evaluation.classification import few_shot_accuracy
from distill.evaluation.figures import METRICS, Figure, figure, json_values
from distill.evaluation.labelled import label_quality
from distill.evaluation.models import EmbeddingModel
from distill.evaluation.retrieval import search_quality
from distill.evaluation.sets import Records, Sets
from distill.evaluation.speed import texts_per_second
from distill.evaluation.sts import similarity_correlation

__all__ = ["Evaluation", "FigureRow", "evaluate", "evaluate_all", "side_by_side"]


@dataclass(frozen=True)
class Evaluation:
    """The results of one model.

    Attributes:
        model: the model's name.
        kind: `static`, `teacher` or `word vectors`.
        dim: its dimensions.
        n_bytes: its size; None if unknown.
        texts_per_second: its speed on this machine with all threads of the process; 0 if not measured.
        reference: the name of the model that agreement is measured with, or None.
        figures: the figures.
        vectors: its vectors of the records, `(n_records, dim)`; None without records; not in `to_json`.
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
        """Return everything but the vectors as JSON values."""
        plain: dict[str, Any] = json_values(asdict(self))
        del plain["vectors"]
        return plain


def evaluate(
    model: EmbeddingModel,
    sets: Sets,
    *,
    against: Evaluation | None = None,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Evaluate a model on all sets.

    Args:
        model: the model.
        sets: the sets.
        against: the reference's results on the same sets; agreement compares the vectors of the records.
        progress: called with the model's name and the set's name before each set.

    Raises:
        InputError: a set is too small for its metric.
    """

    def start(dataset: str) -> None:
        if progress:
            progress(f"{model.name}: {dataset}")

    vectors = None
    found: list[Figure] = []
    if sets.records:
        start(sets.records.name)
        vectors = np.asarray(model.embed(sets.records.texts), np.float32)
        found += _on_records(sets.records, vectors, against)
    found += _on_standard_sets(model, sets, start)
    start("speed")
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


def evaluate_all(
    models: Sequence[EmbeddingModel], sets: Sets, *, progress: Callable[[str], None] | None = None
) -> tuple[Evaluation, ...]:
    """Evaluate a model and others on the same sets; the second model is the reference of all."""
    model, *others = models
    found: list[Evaluation] = []
    for other in others:
        found.append(evaluate(other, sets, against=found[0] if found else None, progress=progress))
    return evaluate(model, sets, against=found[0] if found else None, progress=progress), *found


class FigureRow(NamedTuple):
    """One metric on one set.

    Attributes:
        metric: one of `METRICS`.
        dataset: the name of the set.
        n: the records, pairs, texts or queries that it was measured on.
        figures: the figure of each model; None where it was not measured.
    """

    metric: str
    dataset: str
    n: int
    figures: list[Figure | None]


def side_by_side(evaluations: Sequence[Evaluation]) -> list[FigureRow]:
    """Line up the figures of several models, in the order of `METRICS`."""
    by_name = [{(each.metric, each.dataset): each for each in one.figures} for one in evaluations]
    keys = dict.fromkeys(key for figures in by_name for key in figures)
    rows = []
    for metric, dataset in sorted(keys, key=lambda key: list(METRICS).index(key[0])):
        figures = [found.get((metric, dataset)) for found in by_name]
        n = next(each.n for each in figures if each is not None)
        rows.append(FigureRow(metric, dataset, n, figures))
    return rows


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


def _on_standard_sets(model: EmbeddingModel, sets: Sets, start: Callable[[str], None]) -> Iterator[Figure]:
    for pairs in sets.pairs:
        start(pairs.name)
        yield figure("sts", pairs.name, similarity_correlation(pairs, model.embed))
    for task in sets.classifications:
        start(task.name)
        yield figure("classification", task.name, few_shot_accuracy(task, model.embed))
    for search in sets.retrievals:
        start(search.name)
        gain, recall = search_quality(search, model.embed)
        yield figure("ndcg@10", search.name, gain)
        yield figure("recall@10", search.name, recall)
