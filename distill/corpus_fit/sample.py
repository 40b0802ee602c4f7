"""Sampling: distinct texts, drawn at random from a stream."""

import hashlib
import heapq
from collections.abc import Iterable
from typing import TypeVar

from encoder.errors import ConfigurationError, InputError

__all__ = ["MAX_CHARS", "MIN_TEXTS", "sample_distinct", "sample_texts"]

T = TypeVar("T")

MIN_TEXTS = 100
"""The least number of distinct texts that a table is fitted to."""

MAX_CHARS = 4000
"""Texts are cut to this many characters; most teachers read fewer."""


def sample_texts(texts: Iterable[str | None], size: int, *, seed: int = 0) -> list[str]:
    """Draw distinct texts of a corpus with `sample_distinct`.

    Raises:
        ConfigurationError: `size` is below `MIN_TEXTS`, or the seed is out of range.
        InputError: the corpus has fewer than `MIN_TEXTS` distinct texts.
    """
    if size < MIN_TEXTS:
        raise ConfigurationError(f"`sample` is {size}: it must be {MIN_TEXTS} or more")
    drawn = [text for text, _ in sample_distinct(((text, None) for text in texts), size, seed=seed)]
    if len(drawn) < MIN_TEXTS:
        raise InputError(
            f"the corpus has only {len(drawn)} distinct texts: give at least {MIN_TEXTS}, better several "
            "thousand, or distil without a corpus"
        )
    return drawn


def sample_distinct(
    records: Iterable[tuple[str | None, T]], size: int, *, seed: int = 0
) -> list[tuple[str, T]]:
    """Draw records with distinct texts; frequent texts are no more likely than rare ones.

    The sample is a bottom-k sketch: it keeps the texts with the smallest keyed hashes. Records are read once,
    memory holds only the sample, and the sample depends on the set of texts, not on their order. With the
    same records and seed, a larger sample begins with the smaller one.

    Args:
        records: a text and its payload. Of records with the same text, the first one counts. None and blank
            texts are skipped, and texts are cut to `MAX_CHARS`.
        size: the maximum number of records to draw.
        seed: random seed of the hash, 64 bits.

    Returns:
        The records in random order: that of their texts' hashes.

    Raises:
        ConfigurationError: the seed is out of range.
    """
    if not 0 <= seed < 1 << 64:
        raise ConfigurationError(f"`seed` is {seed}: it must be 0 or more, and below 2^64")
    key = seed.to_bytes(8, "little")
    drawn: list[tuple[int, str]] = []  # a min-heap of negated hashes: the largest hash is first
    payloads: dict[int, T] = {}  # by negated hash
    for text, payload in records:
        if text is None or not (text := text[:MAX_CHARS].strip()):
            continue
        digest = hashlib.blake2b(text.encode(errors="replace"), digest_size=8, key=key).digest()
        order = -int.from_bytes(digest, "little")
        if (len(drawn) == size and order <= drawn[0][0]) or order in payloads:
            continue
        payloads[order] = payload
        if len(drawn) == size:
            del payloads[heapq.heapreplace(drawn, (order, text))[0]]
        else:
            heapq.heappush(drawn, (order, text))
    return [(text, payloads[order]) for order, text in sorted(drawn, reverse=True)]
