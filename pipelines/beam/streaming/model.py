"""The model of a streaming job: one version for ever, or whatever is the latest."""

import logging
import threading
from dataclasses import dataclass
from functools import lru_cache

from apache_beam.metrics import Metrics

from encoder import Encoder
from encoder.errors import ConfigurationError, CorruptVersion, ModelFormatError
from encoder.reference import parse
from encoder.store.store import ModelStore
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_follower import ModelFollower
from pipelines.enrich.model_version import ModelVersion

__all__ = ["Fixed", "Followed", "StreamModel"]

_NO_GOOD = (CorruptVersion, ModelFormatError)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fixed:
    """One version.

    Attributes:
        version: the version.
    """

    version: ModelVersion

    def current(self) -> tuple[Encoder, str]:
        """The encoder and its label."""
        return self.version.load(), self.version.label


@dataclass(frozen=True)
class Followed:
    """The latest version of a store, looked up now and then, loaded in the background.

    A version that cannot be used is refused, and counted in the metric `models_refused`; the one before it
    stays. A worker that starts while the latest is such a one takes the highest below it that is good.

    Attributes:
        ref: of the store, as `s3://bucket/models/minilm@latest`.
        every: seconds between two looks.
        enrichment: what is done with the model: a version that lacks one of its heads is refused as well.
    """

    ref: str
    every: float
    enrichment: Enrichment | None = None

    def current(self) -> tuple[Encoder, str]:
        """The encoder to use for the next batch, and its label; never waits but for the first."""
        process = _process(self)
        process.tell()
        model = process.follower.current()
        return model.encoder, model.label


StreamModel = Fixed | Followed


class _Process:
    """A process's follower, and how much of it the metrics know."""

    def __init__(self, model: Followed) -> None:
        self.follower = _follower(model)
        self._told = 0
        self._lock = threading.Lock()

    def tell(self) -> None:
        with self._lock:
            new, self._told = self.follower.refused - self._told, self.follower.refused
        if new:
            Metrics.counter("millstream", "models_refused").inc(new)


def _follower(model: Followed) -> ModelFollower:
    def accept(encoder: Encoder) -> None:
        try:
            if model.enrichment is not None:
                model.enrichment.accept(encoder)
        except ConfigurationError as error:  # of this version, not of the store
            raise ModelFormatError(str(error)) from error

    try:
        return ModelFollower.start(model.ref, every=model.every, accept=accept)
    except _NO_GOOD as error:
        _log.error("the latest version is refused: %s", error)
    reference = parse(model.ref)
    *lower, _latest = ModelStore.open(reference.location).versions()
    for number in reversed(lower):
        try:
            good = ModelFollower.start(f"{reference.location}@{number}", accept=accept).current()
        except _NO_GOOD:
            continue
        follower = ModelFollower(reference, good, threads=1, accept=accept)
        follower._follow(model.every)  # noqa: SLF001 - `start` knows no other beginning than the latest
        return follower
    raise CorruptVersion(f"{reference.location} has no version that is whole: publish one")


_starting = threading.Lock()  # the threads of a worker begin together: one of them loads for all


def _process(model: Followed) -> _Process:
    with _starting:
        return _start(model)


@lru_cache(maxsize=1)
def _start(model: Followed) -> _Process:
    return _Process(model)
