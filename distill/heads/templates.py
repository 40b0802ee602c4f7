"""Templates of texts: which words of similar texts are the same, and which are variables.

Texts are sequences of words and variables (`encoder.kernels.templates`). Two rules make one template of
several sequences of equal length:

1. A sequence joins a template that has variables where the two differ.
2. k sequences that differ in one word, and share m others, become a template with a variable there if
   (k - 1) * m reaches 10: the more they share, and the more values the word has, the less likely are they
   statements of their own. The first word, which most often says what happens, needs three times as much, and
   so do two words at once, each of which has many values.

Across lengths, a template gets the variables of another one whose values have more words or fewer: "used at
Café Lisboa in <*>" is "used at <*> in <*>" (`generalise`).

Of eight systems of loghub, all do best with 8 to 12 instead of 10, so the number is nothing to be chosen.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.kernels.templates import VARIABLE

__all__ = ["generalise", "merge"]

_EVIDENCE = 10
_TWO_WORDS = 2
_MORE = 3  # times the evidence, for the first word, and for two words at once
_VARIABLE = int(VARIABLE)
_LONGEST_VALUE = 3  # words
_MOST_WORK = 200_000_000  # sequences times pairs of words

_ODD, _MULTIPLIER = 0x9E3779B97F4A7C15, np.uint64(0xBF58476D1CE4E5B9)

Words = NDArray[np.uint64]
Rows = NDArray[np.int64]


class _Candidate(NamedTuple):
    """Sequences that may become one, and the places of their new variables; the smallest is the best."""

    order: tuple[int, ...]
    rows: Rows
    places: tuple[int, ...]


def merge(words: Words) -> tuple[Words, Rows]:
    """Find the templates of sequences of equal length.

    Args:
        words: `(n, n_words)` hashes of words, `VARIABLE` among them; no two rows are equal.

    Returns:
        `(n_templates, n_words)` the templates, and `(n,)` the template of each sequence.
    """
    words, of = _distinct(words.copy(), np.arange(len(words)))
    while len(words) > 1:
        if not _absorb(words):
            candidates = list(_singles(words)) or list(_pairs(words))
            if not candidates:
                break
            used = np.zeros(len(words), np.bool_)
            for one in sorted(candidates, key=lambda one: one.order):
                if not used[one.rows].any():
                    used[one.rows] = True
                    words[np.ix_(one.rows, np.array(one.places))] = VARIABLE
        words, of = _distinct(words, of)
    return words, of


def _distinct(words: Words, of: Rows) -> tuple[Words, Rows]:
    """The distinct rows as they come, and the new numbers of old ones."""
    words, first, place = np.unique(words, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return words[order], rank[place.reshape(-1)][of]


def generalise(templates: Sequence[Words]) -> bool:
    """Give templates the variables of those of other lengths, where a value has more words or fewer.

    Up to three words between two others become variables if another template has variables in their place and
    equal words otherwise, more than these.

    Args:
        templates: each `(n_words,)`; changed.

    Returns:
        Whether a template was changed.
    """
    there = {one for words in templates if _VARIABLE in (one := _without_runs(words))}
    ends = {(one[0], one[-1], len(one)) for one in there}  # most texts of people differ in these already
    changed = False
    for template in templates:
        words = template.tolist()
        for n in range(1, _LONGEST_VALUE + 1):
            n_left = len(_without_runs(template)) - n + 1
            within = (words[0], words[-1], n_left) in ends
            at_end = n == 1 and (words[0], _VARIABLE, n_left) in ends  # more could be words of its own
            if not within and not at_end:
                continue
            for k in range(1 if within else len(words) - n, len(words) - n + at_end):
                # The value stands by itself: its neighbours are words, or there is none behind it.
                if _VARIABLE in words[k - 1 : k + n + 1] or len(words) - words.count(_VARIABLE) <= 2 * n:
                    continue
                other = [*words[:k], _VARIABLE, *words[k + n :]]
                if tuple(_runs_removed(other)) in there:
                    template[k : k + n] = VARIABLE
                    words, changed = template.tolist(), True
    return changed


def _without_runs(template: Words) -> tuple[int, ...]:
    return tuple(_runs_removed(template.tolist()))


def _runs_removed(words: list[int]) -> Iterator[int]:
    before = None
    for word in words:
        if word != _VARIABLE or before != _VARIABLE:
            yield word
        before = word


def _placed(words: Words) -> Words:
    """Hashes mixed with their places, so that the sum of a row's tells it from others."""
    places = np.array([(k + 1) * _ODD % 2**64 for k in range(words.shape[1])], np.uint64)
    mixed = (words ^ places) * _MULTIPLIER
    return mixed ^ (mixed >> np.uint64(32))


def _absorb(words: Words) -> bool:
    """Give sequences the variables of more general ones that they match; whether there were any."""
    variables = words == VARIABLE
    placed, free = _placed(words), _placed(np.full((1, words.shape[1]), VARIABLE))
    keys = placed.sum(axis=1)
    patterns, kind = np.unique(variables, axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    changed = False
    for k in np.argsort(patterns.sum(axis=1), kind="stable"):
        pattern = patterns[k]
        n_fixed = len(pattern) - int(pattern.sum())
        if not pattern.any() or not n_fixed:
            continue
        new = (pattern & ~variables).sum(axis=1)
        rows = np.flatnonzero((new > 0) & ((new == 1) | (new < n_fixed)))
        if not len(rows):
            continue
        others = keys[rows] + (free[0, pattern] - placed[np.ix_(rows, pattern)]).sum(axis=1)
        found = rows[np.isin(others, keys[kind == k])]
        if len(found):
            words[np.ix_(found, np.flatnonzero(pattern))] = VARIABLE
            variables[found] |= pattern
            changed = True
    return changed


def _singles(words: Words) -> Iterator[_Candidate]:
    """Sequences that differ in one word."""
    placed = _placed(words)
    keys, n_fixed = placed.sum(axis=1), (words != VARIABLE).sum(axis=1)
    for place in range(words.shape[1]):
        for rows in _equal(keys - placed[:, place]):
            shared = int(n_fixed[rows].min()) - int((words[rows, place] != VARIABLE).all())
            evidence = (len(rows) - 1) * shared
            if evidence >= (_EVIDENCE if place else _MORE * _EVIDENCE):
                yield _Candidate((-evidence, place, int(rows[0])), rows, (place,))


def _pairs(words: Words) -> Iterator[_Candidate]:
    """Sequences that differ in two words which have many values."""
    n, n_words = words.shape
    if n * n_words**2 > _MOST_WORK:
        return
    placed = _placed(words)
    keys, n_fixed = placed.sum(axis=1), (words != VARIABLE).sum(axis=1)
    for j in range(2, n_words):
        for i in range(1, j):
            for rows in _equal(keys - placed[:, i] - placed[:, j]):
                values = min(len(np.unique(words[rows, place])) for place in (i, j))
                evidence = (values - 1) * (int(n_fixed[rows].max()) - 2)
                wanted = (_MORE if j > i + 1 else _TWO_WORDS) * _EVIDENCE
                if evidence >= wanted and 2 * values >= len(rows):
                    yield _Candidate((-evidence, i, j, int(rows[0])), rows, (i, j))


def _equal(keys: Words) -> Iterator[Rows]:
    """The rows of each key that several have, ascending."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    borders = np.flatnonzero(np.diff(ordered) != 0) + 1
    begins, ends = np.r_[0, borders], np.r_[borders, len(keys)]
    for k in np.flatnonzero(ends - begins > 1):
        yield order[begins[k] : ends[k]]
