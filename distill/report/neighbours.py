"""The nearest records of a few examples, by two models side by side."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.cosines import nearest, unit
from distill.report.groups import Groups

__all__ = ["Example", "Neighbour", "examples"]

_SHOWN = 5


class Neighbour(NamedTuple):
    """A record near an example.

    Attributes:
        record: its index.
        cosine: its cosine with the example.
        shared: whether the other model lists it too.
    """

    record: int
    cosine: float
    shared: bool


class Example(NamedTuple):
    """An example and its neighbours, one list per model."""

    record: int
    lists: list[list[Neighbour]]


def examples(models: list[NDArray[Any]], groups: Groups) -> list[Example]:
    """List the nearest records of the record that is most central in each group.

    Args:
        models: the vectors of the same records by one or two models, `(n_records, dim)` each.
        groups: the records' groups; the first model's vectors decide which record is central.
    """
    rows = unit(models[0])
    found = []
    for number in range(len(groups.names)):
        own = np.flatnonzero(groups.numbers == number)
        if not len(own):
            continue
        middle = rows[own].mean(axis=0, keepdims=True)
        record = int(own[nearest(middle, rows[own], 1)[0][0, 0]])
        found.append(Example(record, _lists(models, record)))
    return found


def _lists(models: list[NDArray[Any]], record: int) -> list[list[Neighbour]]:
    both = []
    for vectors in models:
        numbers, cosines = nearest(vectors[[record]], vectors, _SHOWN + 1)
        pairs = zip(numbers[0].tolist(), cosines[0].tolist(), strict=True)
        both.append([pair for pair in pairs if pair[0] != record][:_SHOWN])
    shown = [{number for number, _ in one} for one in both]
    shared = set.intersection(*shown) if len(shown) > 1 else set()
    return [[Neighbour(number, cosine, number in shared) for number, cosine in one] for one in both]
