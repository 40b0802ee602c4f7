"""Distinct sequences of words in a stream of texts, counted in bounded memory.

When there are too many, those of a template become one (`distill.heads.templates`), and if that does not help
enough, the rarest are forgotten. All of it happens at fixed texts, so the same texts in the same order give
the same sequences in any batches.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from distill.heads.templates import generalise, merge
from encoder.arrays.texts import TextBuffers
from encoder.heads.group_tables import TemplateTables
from encoder.kernels.templates import MOST_WORDS, VARIABLE, sequences

__all__ = ["MOST_SEQUENCES", "NEVER", "Sequence", "Sequences"]

MOST_SEQUENCES = 50_000
"""The most sequences that are remembered."""

NEVER = np.iinfo(np.int64).max
"""The time of texts whose time is unknown."""

_CLOSES = dict(zip(b"([{", b")]}", strict=True))
_AT_ONCE = 4096  # texts; their words take 6 MB
_LONGEST_GAP = 32  # bytes of what stands between two words
_LONGEST_EXAMPLE = 1000  # bytes


@dataclass
class Sequence:
    """A sequence of words.

    Attributes:
        words: `(n,)` uint64, their hashes.
        parts: what stood in the first such text: a gap before each word, and the word, and a last gap; of a
            variable only the brackets that it opens and does not close.
        example: the first such text, or nothing.
        order: the number of that text.
        size: how many texts have it.
        time: the earliest time of those, or `NEVER`.
    """

    words: NDArray[np.uint64]
    parts: tuple[bytes, ...]
    example: bytes
    order: int
    size: int = 0
    time: int = NEVER


class Sequences:
    """The distinct sequences of a stream of texts.

    Attributes:
        n_texts: the texts that were added, without those without a word.
        forgotten: how many of them had a sequence that was forgotten.
    """

    def __init__(self, most: int = MOST_SEQUENCES, *, examples: bool = False) -> None:
        """Begin without a text.

        Args:
            most: the most sequences to remember.
            examples: whether to remember a text of each.
        """
        self.n_texts = self.forgotten = self._position = 0
        self._most, self._examples = most, examples
        self._found: dict[int, Sequence] = {}
        self._merged: tuple[TemplateTables, list[Sequence]] | None = None

    def add(self, texts: TextBuffers, times: NDArray[np.int64] | None = None) -> None:
        """Count texts.

        Args:
            texts: masked; null and empty ones are skipped.
            times: `(n_texts,)` of each, or `NEVER`.
        """
        first, n = 0, len(texts.offsets) - 1
        while first < n:
            last = min(first + _AT_ONCE, n)
            first += self._add(texts.block(first, last), None if times is None else times[first:last])

    def templates(self) -> list[Sequence]:
        """What is left when the sequences of a template have become one, ascending by their words' number."""
        self._merge()
        assert self._merged is not None
        return self._merged[1]

    def _add(self, texts: TextBuffers, times: NDArray[np.int64] | None) -> int:
        """Count the first texts, up to where there are too many sequences, and return how many."""
        n = len(texts.offsets) - 1
        shape = n, MOST_WORDS
        words, begins, ends = np.empty(shape, np.uint64), np.empty(shape, np.int64), np.empty(shape, np.int64)
        keys, lengths = np.empty(n, np.uint64), np.empty(n, np.int64)
        sequences(texts.data, texts.offsets, words, begins, ends, keys, lengths)
        if len(texts.valid):
            lengths[~texts.valid] = 0
        keys[lengths == 0] = 0
        distinct, first, place = np.unique(keys, return_index=True, return_inverse=True)
        known = [self._found.get(key) for key in distinct.tolist()]
        self._find_merged(texts, first, known)
        new = sorted(int(first[k]) for k, one in enumerate(known) if one is None and distinct[k])
        if len(new) > (free := self._most - len(self._found)):
            if new[free] == 0:
                self._shrink()
                return 0
            n = new[free]
        sizes = np.bincount(place[:n], minlength=len(distinct))
        earliest = np.full(len(distinct), NEVER)
        if times is not None:
            np.minimum.at(earliest, place[:n], times[:n])
        for k in np.flatnonzero((sizes > 0) & (distinct > 0)).tolist():
            one, row = known[k], int(first[k])
            if one is None:
                spans = np.stack([begins[row], ends[row]], axis=1)[: lengths[row]]
                one = self._new(texts, row, words[row, : lengths[row]].copy(), spans)
                self._found[int(distinct[k])] = one
            one.size += int(sizes[k])
            one.time = min(one.time, int(earliest[k]))
        self.n_texts += int(sizes[distinct > 0].sum())
        self._position += n
        return n

    def _find_merged(
        self, texts: TextBuffers, first: NDArray[np.int64], known: list[Sequence | None]
    ) -> None:
        """Find the templates of those texts whose sequences are not known."""
        rows = [k for k, one in enumerate(known) if one is None]
        if self._merged is None or not rows:
            return
        tables, templates = self._merged
        found, similarity = tables.match(texts.take(first[rows]))
        for k, template, same in zip(rows, found.tolist(), (similarity == 1).tolist(), strict=True):
            if same and templates[template].size:
                known[k] = templates[template]

    def _new(
        self, texts: TextBuffers, row: int, words: NDArray[np.uint64], spans: NDArray[np.int64]
    ) -> Sequence:
        begin, end = texts.offsets[row : row + 2].tolist()
        text = texts.data[begin:end].tobytes()
        parts, before = [], begin
        for word, (first, last) in zip(words, spans.tolist(), strict=True):
            part = texts.data[first:last].tobytes()
            parts.append(texts.data[before:first][:_LONGEST_GAP].tobytes())
            parts.append(_open_brackets(part) if word == VARIABLE else part)
            before = last
        rest = b"" if len(spans) == MOST_WORDS else text[before - begin :][:_LONGEST_GAP]
        example = text[:_LONGEST_EXAMPLE] if self._examples else b""
        return Sequence(words, (*parts, rest), example, self._position + row)

    def _shrink(self) -> None:
        """Make room: merge, and forget the rarest, the last ones first."""
        self._merge()
        kept = sorted(self._found.values(), key=lambda one: (-one.size, one.order))[: self._most // 2]
        chosen = {id(one) for one in kept}
        for key, one in list(self._found.items()):
            if id(one) not in chosen:
                self.forgotten += one.size
                one.size = 0
                del self._found[key]

    def _merge(self) -> None:
        by_length: dict[int, list[Sequence]] = {}
        for one in sorted(self._found.values(), key=attrgetter("order")):
            by_length.setdefault(len(one.words), []).append(one)
        templates = [one for n in sorted(by_length) for one in _merged(by_length[n])]
        while generalise([one.words for one in templates]):
            templates = [one for _, some in groupby(templates, _length) for one in _merged(list(some))]
        words = np.concatenate([np.empty(0, np.uint64), *(one.words for one in templates)])
        tables = TemplateTables.of(words, np.cumsum([0, *(len(one.words) for one in templates)]))
        self._merged = tables, templates
        self._found = dict(zip(tables.keys.tolist(), templates, strict=True))


def _length(one: Sequence) -> int:
    return len(one.words)


def _open_brackets(text: bytes) -> bytes:
    found = b""
    for char in text:
        if char in _CLOSES:
            found += bytes([char])
        elif found and char == _CLOSES[found[-1]]:
            found = found[:-1]
    return found[:_LONGEST_GAP]


def _merged(found: list[Sequence]) -> Iterable[Sequence]:
    """The templates of sequences of equal length; each has what its most frequent sequence has."""
    words, of = merge(np.stack([one.words for one in found]))
    members: list[list[Sequence]] = [[] for _ in words]
    for one, template in zip(found, of.tolist(), strict=True):
        members[template].append(one)
    for row, some in zip(words, members, strict=True):
        first = max(some, key=lambda one: (one.size, -one.order))
        size, time = sum(one.size for one in some), min(one.time for one in some)
        yield Sequence(row, first.parts, first.example, min(one.order for one in some), size, time)
