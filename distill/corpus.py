"""The corpus: a random sample of the distinct texts that a user's records hold."""

import hashlib
import heapq
from collections.abc import Iterable

from encoder.errors import ConfigurationError, InputError

__all__ = ["FEWEST_TEXTS", "MAX_CHARS", "sample_texts"]

FEWEST_TEXTS = 100
"""With fewer distinct texts there is nothing to fit."""

MAX_CHARS = 4000
"""Characters of a text that are used; most teachers read fewer."""


def sample_texts(texts: Iterable[str | None], size: int, *, seed: int = 0) -> list[str]:
    """Draw distinct texts, each with the same probability however often it comes.

    The texts with the smallest keyed hashes are kept (a bottom-k sketch), so the corpus is read once, memory
    holds the sample alone, and the sample depends on the set of the texts and not on their order. A larger
    sample of the same corpus and seed begins with the smaller one.

    Args:
        texts: the corpus; None and blank texts do not count. What is longer than `MAX_CHARS` is cut.
        size: the most texts to draw.
        seed: of the hash.

    Returns:
        The texts in the order of their hashes, which is a random one.

    Raises:
        ConfigurationError: `size` is below `FEWEST_TEXTS`.
        InputError: there are fewer than `FEWEST_TEXTS` distinct texts.
    """
    if size < FEWEST_TEXTS:
        raise ConfigurationError(f"sample is {size}: it must be {FEWEST_TEXTS} texts or more")
    key = seed.to_bytes(8, "little", signed=True)
    drawn: list[tuple[int, str]] = []  # a heap with the largest hash in front, so hashes are negative
    hashes: set[int] = set()
    for text in texts:
        if text is None or not (text := text[:MAX_CHARS].strip()):
            continue
        digest = hashlib.blake2b(text.encode(errors="replace"), digest_size=8, key=key).digest()
        order = -int.from_bytes(digest, "little")
        if (len(drawn) == size and order <= drawn[0][0]) or order in hashes:
            continue
        hashes.add(order)
        if len(drawn) == size:
            hashes.remove(heapq.heapreplace(drawn, (order, text))[0])
        else:
            heapq.heappush(drawn, (order, text))
    if len(drawn) < FEWEST_TEXTS:
        raise InputError(
            f"the corpus has only {len(drawn)} distinct texts: give at least {FEWEST_TEXTS}, better some "
            "thousands, or distil without a corpus"
        )
    return [text for _, text in sorted(drawn, reverse=True)]
