"""Whether figures can be had from sets at all, asked before any model is made or loaded."""

from distill.evaluation.agreement import check_enough
from distill.evaluation.labelled import halves
from distill.evaluation.sets import Sets
from encoder.errors import InputError

__all__ = ["check_sets"]


def check_sets(sets: Sets, *, reference: bool) -> None:
    """Refuse sets that measure nothing.

    Args:
        sets: what will be measured.
        reference: whether there is a model to agree with.

    Raises:
        InputError: there are too few records or labels.
    """
    if sets.records and reference:
        check_enough(len(sets.records.texts))
    if sets.records and sets.records.labels is not None:
        halves(sets.records.labels)
    for task in sets.classifications:
        labels = set(task.train.labels)
        if len(labels) < 2:
            raise InputError(f"{task.name} has one label in all texts to learn from: {min(labels)!r}")
