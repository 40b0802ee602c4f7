"""The model of a streaming job: one version, or always the latest one."""

import threading
from dataclasses import dataclass
from functools import lru_cache

from apache_beam.metrics import Metrics

from encoder import Encoder
from encoder.store.signing.trust import Trust
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_follower import ModelFollower
from pipelines.enrich.model_version import ModelVersion

__all__ = ["LatestModel", "PinnedModel", "StreamModel"]


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
        trust: who may sign versions, or None for what the worker's environment says.
    """

    ref: str
    every: float
    enrichment: Enrichment | None = None
    trust: Trust | None = None

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
    accept = model.enrichment.accept if model.enrichment else None
    return ModelFollower.start(model.ref, every=model.every, accept=accept, trust=model.trust)


_starting = threading.Lock()  # threads of a worker start together; one of them loads the model for all


def _process(model: LatestModel) -> _Process:
    with _starting:
        return _cached_process(model)


@lru_cache(maxsize=1)
def _cached_process(model: LatestModel) -> _Process:
    return _Process(model)
