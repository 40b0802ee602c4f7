"""The speed of a model on this machine."""

import time
from collections.abc import Iterable
from itertools import islice

from distill.evaluation.models import EmbeddingModel

__all__ = ["texts_per_second"]

_MAX_TEXTS = {"teacher": 256}  # a transformer takes about as long for these as other models for all
_TEXTS = 20_000
_SECONDS = 0.3


def texts_per_second(model: EmbeddingModel, texts: Iterable[str]) -> float:
    """Measure texts per second with all threads of the process, after a warm-up: the best round within 0.3 s.

    Args:
        model: the model.
        texts: texts to embed; the first 20,000 are used, or the first 256 for a teacher.
    """
    some = list(islice(texts, _MAX_TEXTS.get(model.kind, _TEXTS)))
    if not some:
        return 0.0
    model.embed(some[:64])  # compiles code and pages in the table
    best, spent = float("inf"), 0.0
    while spent < _SECONDS:
        begin = time.perf_counter()
        model.embed(some)
        seconds = time.perf_counter() - begin
        best, spent = min(best, seconds), spent + max(seconds, 1e-9)
    return len(some) / max(best, 1e-9)
