"""The corpus: a random sample of the distinct texts that a user's records hold."""

import hashlib
import heapq
from collections.abc import Iterable
from typing import TypeVar

from encoder.errors import ConfigurationError, InputError

__all__ = ["FEWEST_TEXTS", "MAX_CHARS", "sample_distinct", "sample_texts"]

T = TypeVar("T")

FEWEST_TEXTS = 100
"""With fewer distinct texts there is nothing to fit."""

MAX_CHARS = 4000
"""Characters of a text that are used; most teachers read fewer."""


def sample_texts(texts: Iterable[str | None], size: int, *, seed: int = 0) -> list[str]:
    """Draw distinct texts of a corpus, as `sample_distinct`.

    Raises:
        ConfigurationError: `size` is below `FEWEST_TEXTS`, or the seed is negative.
        InputError: there are fewer than `FEWEST_TEXTS` distinct texts.
    """
    if size < FEWEST_TEXTS:
        raise ConfigurationError(f"sample is {size}: it must be {FEWEST_TEXTS} texts or more")
    drawn = [text for text, _ in sample_distinct(((text, None) for text in texts), size, seed=seed)]
    if len(drawn) < FEWEST_TEXTS:
        raise InputError(
            f"the corpus has only {len(drawn)} distinct texts: give at least {FEWEST_TEXTS}, better some "
            "thousands, or distil without a corpus"
        )
    return drawn


def sample_distinct(
    records: Iterable[tuple[str | None, T]], size: int, *, seed: int = 0
) -> list[tuple[str, T]]:
    """Draw records of distinct texts, each text with the same probability however often it comes.

    The texts with the smallest keyed hashes are kept (a bottom-k sketch), so the records are read once,
    memory holds the sample alone, and the sample depends on the set of the texts and not on their order. A
    larger sample of the same records and seed begins with the smaller one.

    Args:
        records: a text and what belongs to it; of records with the same text the first counts. None and
            blank texts do not count. What is longer than `MAX_CHARS` is cut.
        size: the most records to draw.
        seed: of the hash.

    Returns:
        The records in the order of their texts' hashes, which is a random one.

    Raises:
        ConfigurationError: the seed is negative, or has more than 64 bits.
    """
    if not 0 <= seed < 1 << 64:
        raise ConfigurationError(f"seed is {seed}: it must be 0 or more, and below 2^64")
    key = seed.to_bytes(8, "little")
    drawn: list[tuple[int, str]] = []  # a heap with the largest hash in front, so hashes are negative
    rest: dict[int, T] = {}  # what belongs to the texts in it, by their hashes
    for text, other in records:
        if text is None or not (text := text[:MAX_CHARS].strip()):
            continue
        digest = hashlib.blake2b(text.encode(errors="replace"), digest_size=8, key=key).digest()
        order = -int.from_bytes(digest, "little")
        if (len(drawn) == size and order <= drawn[0][0]) or order in rest:
            continue
        rest[order] = other
        if len(drawn) == size:
            del rest[heapq.heapreplace(drawn, (order, text))[0]]
        else:
            heapq.heappush(drawn, (order, text))
    return [(text, rest[order]) for order, text in sorted(drawn, reverse=True)]
