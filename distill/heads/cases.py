"""Known cases: the threshold from which the nearest case is trusted, and sets of cases that change.

The threshold is measured by leaving cases out: each finds its nearest among those with other texts, and is
right if both have the same label. It is the lowest cosine above which the wanted share is right.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.bootstrap import Estimate, bootstrap_mean
from distill.heads.case_cells import FEW, in_cells
from distill.heads.examples import Examples
from encoder.errors import ConfigurationError, InputError
from encoder.heads.cases import MOST_NEAREST, Cases, Strings

__all__ = ["MAX_CASES", "CasesReport", "fit_cases", "with_cases", "without_cases"]

MAX_CASES = 1_000_000
"""The most cases of a head."""

_LEFT_OUT = 10_000  # cases that are left out in turn


@dataclass(frozen=True)
class CasesReport:
    """What was measured with cases that were left out.

    Attributes:
        left_out: how many distinct texts.
        precision: the share of those with a near case whose label is right.
        recall: the share of all that have a near case with the right label.
    """

    left_out: int
    precision: Estimate
    recall: Estimate


def fit_cases(
    name: str,
    examples: Examples,
    ids: Sequence[str],
    *,
    nearest: int = 1,
    precision: float = 0.95,
    threshold: float | None = None,
    seed: int = 0,
    metadata: dict[str, Any] | None = None,
) -> tuple[Cases, CasesReport | None]:
    """Fit known cases.

    Args:
        name: the name of the head.
        examples: the cases; each has one label.
        ids: `(n,)` their ids; of equal ones the last is taken.
        nearest: how many of the nearest cases a text gets.
        precision: the share of nearest cases whose label is to be right; it sets the threshold.
        threshold: the least cosine that is near enough; None measures it.
        seed: random seed for the cases that are left out.
        metadata: what the head stores besides what was measured; any JSON.

    Returns:
        The head, and what was measured; None if the threshold was given.

    Raises:
        ConfigurationError: a parameter is out of range.
        InputError: there are no cases, too many, or no threshold has the wanted precision.
    """
    if not 1 <= nearest <= MOST_NEAREST:
        raise ConfigurationError(f"`nearest` is {nearest}: it must be between 1 and {MOST_NEAREST}")
    if not 0 < precision < 1:
        raise ConfigurationError(f"`precision` is {precision:g}: it must be between 0 and 1")
    examples, ids = _usable(examples, ids)
    report = None
    if threshold is None:
        threshold, report = _measure(examples, precision, seed)
    about = {**(metadata or {}), "cases": len(ids), "threshold": threshold}
    if report is not None:
        about |= {"wanted_precision": precision, "seed": seed, "left_out": report.left_out}
        about |= {"precision": report.precision.value, "recall": report.recall.value}
    labels = tuple(sorted(examples.counts()))
    head = Cases(name, Strings.of([]), labels, *_rows(examples, labels), threshold, nearest, about)
    return _indexed(head, ids), report


def with_cases(head: Cases, examples: Examples, ids: Sequence[str]) -> Cases:
    """A head with more cases, and the same threshold; a case replaces the one with the same id.

    Raises:
        InputError: there are no cases, or too many.
    """
    examples, ids = _usable(examples, ids)
    there, kept = _all_but(head, set(ids))
    labels = tuple(sorted({*head.labels, *examples.counts()}))
    label, vectors = _rows(examples, labels)
    places = {one: k for k, one in enumerate(labels)}
    numbers = np.array([places[one] for one in head.labels], np.int32)
    return _changed(
        head,
        [*(there[row] for row in kept), *ids],
        labels,
        np.concatenate([numbers[head.label[kept]], label]),
        np.concatenate([head.vectors[kept], vectors]),
    )


def without_cases(head: Cases, ids: Collection[str]) -> Cases:
    """A head without some of its cases.

    Raises:
        InputError: it has no such case, or would have none left.
    """
    there, kept = _all_but(head, set(ids))
    if missing := set(ids).difference(there):
        raise InputError(f"the head {head.name!r} has no case {min(missing)!r}: are the ids right?")
    return _changed(head, [there[row] for row in kept], head.labels, head.label[kept], head.vectors[kept])


def _all_but(head: Cases, ids: set[str]) -> tuple[list[str], list[int]]:
    """The ids of all cases, and the rows of those without these ids."""
    there = head.ids.tolist()
    return there, [row for row, one in enumerate(there) if one not in ids]


def _changed(
    head: Cases,
    ids: list[str],
    labels: tuple[str, ...],
    label: NDArray[np.int32],
    vectors: NDArray[np.float16],
) -> Cases:
    if not ids:
        raise InputError(f"the head {head.name!r} would have no case left")
    if len(ids) > MAX_CASES:
        raise InputError(f"there would be {len(ids):,} cases: a head has at most {MAX_CASES:,}")
    about = {**head.metadata, "cases": len(ids)}
    return _indexed(
        replace(head, labels=labels, label=label, vectors=vectors, metadata=about, cells=None), ids
    )


def _indexed(head: Cases, ids: list[str]) -> Cases:
    """A head whose cases have these ids; many of them are put into cells."""
    if len(ids) <= FEW:
        return replace(head, ids=Strings.of(ids))
    order, cells = in_cells(head.vectors)
    strings = Strings.of([ids[row] for row in order])
    return replace(head, ids=strings, label=head.label[order], vectors=head.vectors[order], cells=cells)


def _usable(examples: Examples, ids: Sequence[str]) -> tuple[Examples, list[str]]:
    """The cases that have a vector, the last one of each id."""
    last = {one: row for row, one in enumerate(ids)}
    rows = [row for row in last.values() if examples.vectors[row].any() and examples.labels[row]]
    if not rows:
        raise InputError("no case has a label and a text with a token that the model knows")
    if len(rows) > MAX_CASES:
        raise InputError(f"there are {len(rows):,} cases: a head has at most {MAX_CASES:,}")
    some = Examples(examples.vectors[rows], tuple(examples.labels[row] for row in rows), examples.texts[rows])
    return some, [ids[row] for row in rows]


def _rows(examples: Examples, labels: tuple[str, ...]) -> tuple[NDArray[np.int32], NDArray[np.float16]]:
    numbers = {label: k for k, label in enumerate(labels)}
    label = np.array([numbers[some[0]] for some in examples.labels], np.int32)
    return label, examples.vectors.astype(np.float16)


def _measure(examples: Examples, wanted: float, seed: int) -> tuple[float, CasesReport]:
    """The threshold with the wanted precision, and what cases that are left out find with it."""
    if len(examples.counts()) == 1:
        raise InputError(
            f"all cases have the label {examples.labels[0][0]!r}, so the threshold cannot be measured: add "
            "records of other kinds with labels of their own, or set `threshold`"
        )
    _, distinct = np.unique(examples.texts, return_index=True)
    if len(distinct) == 1:
        raise InputError("all cases have the same text: set `threshold`")
    labels = tuple(sorted(examples.counts()))
    label, vectors = _rows(examples, labels)
    ids = Strings.of([""] * len(distinct))
    others = Cases("", ids, labels, label[distinct], vectors[distinct], -1.0)
    random = np.random.default_rng(seed)
    out = random.permutation(len(distinct))[:_LEFT_OUT]
    found = others.search(others.vectors[out].astype(np.float32), 2)
    second = found.case[:, 0] == out  # the nearest is the case itself, or has an equal vector
    case = np.where(second, found.case[:, 1], found.case[:, 0])
    cosine = np.where(second, found.similarity[:, 1], found.similarity[:, 0])
    right = others.label[case] == others.label[out]
    order = np.argsort(-cosine, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(out) + 1)
    good = np.flatnonzero(share >= wanted)
    if not len(good):
        raise InputError(
            f"no threshold has a precision of {wanted:.1%}; the best is {share.max():.1%}: lower "
            "`precision`, or set `threshold`"
        )
    threshold = float(cosine[order[good[-1]]])
    near = cosine >= threshold
    return threshold, CasesReport(len(out), bootstrap_mean(right[near]), bootstrap_mean(right & near))
