"""The model of a streaming job: one version, or always the latest one."""

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

__all__ = ["LatestModel", "PinnedModel", "StreamModel"]

_UNUSABLE = (CorruptVersion, ModelFormatError)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PinnedModel:
    """One version for the whole job."""

    version: ModelVersion

    def current(self) -> tuple[Encoder, str]:
        """The encoder and its label."""
        return self.version.load(), self.version.label


@dataclass(frozen=True)
class LatestModel:
    """The latest version of a store, checked for periodically and loaded in the background.

    A version that cannot be used is refused and counted in the metric `models_refused`; the one before it
    stays in use. A worker that starts while the latest version is unusable takes the highest usable one.

    Attributes:
        ref: the store, such as `s3://bucket/models/minilm@latest`.
        every: seconds between checks for a newer version.
        enrichment: what the model is used for; a version without one of its heads is refused as well.
    """

    ref: str
    every: float
    enrichment: Enrichment | None = None

    def current(self) -> tuple[Encoder, str]:
        """The encoder for the next batch, and its label; only the first call waits."""
        process = _process(self)
        process.report()
        model = process.follower.current()
        return model.encoder, model.label


StreamModel = PinnedModel | LatestModel


class _Process:
    """The follower of this process, and how many of its refusals Beam's metrics count already."""

    def __init__(self, model: LatestModel) -> None:
        self.follower = _start(model)
        self._reported = 0
        self._lock = threading.Lock()

    def report(self) -> None:
        with self._lock:
            new, self._reported = self.follower.refused - self._reported, self.follower.refused
        if new:
            Metrics.counter("millstream", "models_refused").inc(new)


def _start(model: LatestModel) -> ModelFollower:
    def accept(encoder: Encoder) -> None:
        try:
            if model.enrichment is not None:
                model.enrichment.accept(encoder)
        except ConfigurationError as error:  # this version's, not the store's
            raise ModelFormatError(str(error)) from error

    try:
        return ModelFollower.start(model.ref, every=model.every, accept=accept)
    except _UNUSABLE as error:
        _log.error("the latest version is refused: %s", error)
    reference = parse(model.ref)
    *lower, _latest = ModelStore.open(reference.location).versions()
    for number in reversed(lower):
        try:
            good = ModelFollower.start(f"{reference.location}@{number}", accept=accept).current()
        except _UNUSABLE:
            continue
        follower = ModelFollower(reference, good, threads=1, accept=accept)
        follower.follow(model.every)
        return follower
    raise CorruptVersion(f"{reference.location} has no usable version: publish one")


_starting = threading.Lock()  # threads of a worker start together; one of them loads the model for all


def _process(model: LatestModel) -> _Process:
    with _starting:
        return _cached_process(model)


@lru_cache(maxsize=1)
def _cached_process(model: LatestModel) -> _Process:
    return _Process(model)
