"""Drift: a baseline of records in their order, and the level that windows of the same kind rarely exceed.

The groups are found by spherical k-means (Dhillon and Modha, 2001), which starts from k-means++. The records
are held out in five consecutive parts: how unusual a record is, and which of its words are new, is asked of
the groups and words of the other parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.heads.drift_levels import PARTS, RATE, levels
from distill.heads.examples import embed
from encoder import Encoder
from encoder.errors import InputError
from encoder.heads.drift import Drift, has_new_words
from encoder.heads.drift_labels import Counted, label_shares, scored_heads
from encoder.heads.scoring import Head
from encoder.masks import Masks
from encoder.tokens import TokenIds

__all__ = ["MIN_RECORDS", "DriftRecords", "DriftReport", "fit_drift"]

MIN_RECORDS = 500
"""The fewest records of a baseline."""

_GROUPS, _RECORDS_PER_GROUP = 128, 16
_ROUNDS, _FITTED = 10, 20_000
_UNUSUAL, _DISTANT = 0.01, 0.05
_LIKE_ALL, _LEAST_SPREAD = 5, 0.02
_LEAST_UNKNOWN = 1e-4  # variance of a record's share of unknown tokens
_TOKENISED = 10_000  # records whose unknown tokens are counted
_TIE = 1e-4  # texts that are the same have cosines that differ by rounding
_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class DriftReport:
    """What was found.

    Attributes:
        records: how many records the baseline has.
        groups: the number of groups.
        held_out: the largest drift of consecutive windows of the records from the other parts, if the records
            were independent.
    """

    records: int
    groups: int
    held_out: float


@dataclass(frozen=True)
class DriftRecords:
    """Records in the order in which they came.

    Attributes:
        vectors: `(n, dim)` float32 of length 1.
        lengths: `(n,)` the characters of their texts.
        unknown: `(m,)` the shares of unknown tokens of some of them.
        tokens: of their texts.
        texts: the texts, or None if no groups are counted.
        masks: what the model masks in texts.
    """

    vectors: NDArray[np.float32]
    lengths: NDArray[np.int64]
    unknown: NDArray[np.float64]
    tokens: TokenIds
    texts: Sequence[str] | None = None
    masks: Masks | None = None

    @classmethod
    def of(cls, encoder: Encoder, texts: Sequence[str]) -> "DriftRecords":
        """Embed texts.

        Raises:
            InputError: the tokenizer fails with a text.
        """
        some = np.linspace(0, len(texts) - 1, min(len(texts), _TOKENISED)).astype(int)
        return cls(
            embed(encoder, texts, [()] * len(texts)).vectors,
            np.array(list(map(len, texts))),
            encoder.unknown_share([texts[row] for row in some]),
            encoder.tokenise(texts),
            texts,
            encoder.masks,
        )


def fit_drift(
    name: str,
    records: DriftRecords,
    *,
    heads: Sequence[Head] = (),
    seed: int = 0,
    metadata: dict[str, Any] | None = None,
) -> tuple[Drift, DriftReport]:
    """Fit a baseline.

    Args:
        name: the name of the head.
        records: the records.
        heads: the model's heads; the shares of their labels are measures.
        seed: random seed.
        metadata: what the head stores besides its own parameters; any JSON.

    Raises:
        InputError: there are too few records.
    """
    n, unknown = len(records.vectors), records.unknown
    if n < MIN_RECORDS:
        raise InputError(f"{n:,} records are too few for a baseline: give {MIN_RECORDS:,} or more")
    random, part = np.random.default_rng(seed), np.arange(n) * PARTS // n
    found = _measured(records, part, heads, random)
    sizes, variances, raised, furthest = levels(found.measures, part, random)
    means = found.measures.mean(axis=0, dtype=np.float64)
    about = {**(metadata or {}), "records": n, "groups": len(found.centres), "seed": seed, "rate": RATE}
    head = Drift(
        name,
        found.centres,
        found.threshold,
        found.spreads.astype(np.float32),
        found.limits.astype(np.float32),
        np.packbits(_has(records.tokens.ids)),
        found.labels,
        scored_heads(found.scored),
        np.append(means, unknown.mean()).astype(np.float32),
        np.append(variances, max(float(unknown.var()), _LEAST_UNKNOWN)).astype(np.float32),
        np.append(np.full(len(means), n), len(unknown)).astype(np.float32),
        sizes.astype(np.float32),
        raised.astype(np.float32),
        {**about, "held_out_drift": round(furthest, 2)},
    )
    return head, DriftReport(n, len(found.centres), furthest)


class _Measured(NamedTuple):
    """The measures of records, `(n, n_measures)` float32, and what a head needs to measure others."""

    measures: NDArray[np.float32]
    centres: NDArray[np.float32]
    threshold: float
    spreads: NDArray[np.float64]
    limits: NDArray[np.float64]
    labels: tuple[str, ...]
    scored: list[Counted]


def _measured(
    records: DriftRecords, part: NDArray[np.int64], heads: Sequence[Head], random: np.random.Generator
) -> _Measured:
    """Measure records; how unusual one is, and which of its words are new, by the records of other parts."""
    vectors, n_groups = records.vectors, min(_GROUPS, len(part) // _RECORDS_PER_GROUP)
    centres = _centres(vectors, n_groups, random)
    held_out = [_held_out(records, part == k, n_groups, random) for k in range(PARTS)]
    similarity, ratio, new = (np.concatenate(one) for one in zip(*held_out, strict=True))
    threshold, distant = (float(one) - _TIE for one in np.quantile(similarity, [_UNUSUAL, _DISTANT]))
    odd = float(np.quantile(ratio, 1 - _DISTANT)) + _TIE
    labels, scored, shares = label_shares(heads, vectors, records.texts, records.masks)
    groups, nearest = _nearest(centres, vectors)
    unusual = [similarity < threshold, similarity < distant, ratio > odd, new]
    columns = [groups[:, None] == np.arange(len(centres)), *unusual, np.log1p(records.lengths), shares]
    return _Measured(
        np.column_stack(columns).astype(np.float32),
        centres,
        threshold,
        _spreads(groups, nearest, len(centres)),
        np.array([distant, odd]),
        labels,
        scored,
    )


def _held_out(
    records: DriftRecords, part: NDArray[np.bool_], n_groups: int, random: np.random.Generator
) -> tuple[Any, Any, Any]:
    """Records of a part, held against the others.

    Returns:
        Their cosines with the nearest groups, how many times as far from them as these groups' spreads they
        are, and whether they have new words.
    """
    others = _centres(records.vectors[~part], n_groups, random)
    spreads = _spreads(*_nearest(others, records.vectors[~part]), len(others))
    group, similarity = _nearest(others, records.vectors[part])
    ids, offsets = records.tokens
    first, stop = np.flatnonzero(part)[[0, -1]] + [0, 1]  # a part is consecutive
    inside = slice(offsets[first], offsets[stop])
    known = _has(np.delete(ids, inside))
    new = has_new_words(~known, TokenIds(ids[inside], offsets[first : stop + 1] - offsets[first]))
    return similarity, (1 - similarity) / spreads[group], new


def _has(ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which ids are there; the last one is not."""
    return np.append(np.bincount(ids) > 0, False)  # asked for all ids behind the last


def _spreads(
    groups: NDArray[np.int64], similarity: NDArray[np.float32], n_groups: int
) -> NDArray[np.float64]:
    """How far records of each group are from its centre; of few records, rather as of all."""
    away = 1 - similarity.astype(np.float64)
    sums, counts = np.bincount(groups, away, n_groups), np.bincount(groups, minlength=n_groups)
    found: NDArray[np.float64] = (sums + _LIKE_ALL * away.mean()) / (counts + _LIKE_ALL) + _LEAST_SPREAD
    return found


def _centres(vectors: NDArray[np.float32], n_groups: int, random: np.random.Generator) -> Any:
    """Spherical k-means of at most `_FITTED` of the vectors: `(n_groups or fewer, dim)` float32."""
    if len(vectors) > _FITTED:
        vectors = vectors[np.sort(random.choice(len(vectors), _FITTED, replace=False))]
    chosen = [int(random.integers(len(vectors)))]
    far = (1 - vectors @ vectors[chosen[0]]).clip(0).astype(np.float64)
    while len(chosen) < n_groups and far.sum() > _TIE * len(vectors):
        chosen.append(int(random.choice(len(vectors), p=far / far.sum())))
        far = np.minimum(far, (1 - vectors @ vectors[chosen[-1]]).clip(0))
    centres = vectors[chosen]
    for _ in range(_ROUNDS):
        group = (vectors @ centres.T).argmax(axis=1)
        order = np.argsort(group, kind="stable")
        there, first = np.unique(group[order], return_index=True)
        sums = np.add.reduceat(vectors[order], first, axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres[there] = np.where(lengths > 0, sums / np.maximum(lengths, _TIE), centres[there])
    return centres.astype(np.float32)


def _nearest(centres: NDArray[np.float32], vectors: NDArray[np.float32]) -> tuple[Any, Any]:
    """The group of each vector, and its cosine."""
    parts = [vectors[first : first + _AT_ONCE] @ centres.T for first in range(0, len(vectors), _AT_ONCE)]
    groups = np.concatenate([one.argmax(axis=1) for one in parts])
    return groups, np.concatenate([one.max(axis=1) for one in parts])
