"""How many texts a second a model embeds here."""

import time
from collections.abc import Iterable
from itertools import islice

from distill.evaluation.models import EmbeddingModel

__all__ = ["texts_per_second"]

_MOST_TEXTS = {"teacher": 256}  # a transformer takes about as long for these as others for all
_TEXTS = 20_000
_SECONDS = 0.3


def texts_per_second(model: EmbeddingModel, texts: Iterable[str]) -> float:
    """Texts a second, warm, with all threads of the process; the best of rounds that take 0.3 s together.

    Args:
        model: whose speed.
        texts: the first 20,000 are used, of a teacher the first 256.
    """
    some = list(islice(texts, _MOST_TEXTS.get(model.kind, _TEXTS)))
    if not some:
        return 0.0
    model.embed(some[:64])  # code is compiled, pages are read
    best, spent = float("inf"), 0.0
    while spent < _SECONDS:
        begin = time.perf_counter()
        model.embed(some)
        seconds = time.perf_counter() - begin
        best, spent = min(best, seconds), spent + max(seconds, 1e-9)
    return len(some) / max(best, 1e-9)
