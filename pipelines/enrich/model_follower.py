"""Following a model: newer versions of a store are loaded in the background while work continues.

For programs that run for months: the Kafka worker and streaming Beam pipelines. A process has one follower.
It owns a thread and cannot be pickled, so a Beam DoFn creates it in `setup` and closes it in `teardown`:

    follower = ModelFollower.start("s3://bucket/models/minilm@latest")
    ...
    model = follower.current()  # once a batch: all its rows are of one version
    enrichment(batch, model.encoder, model.label)
    ...
    follower.close()

A version that cannot be used (damaged, not a model, without a required head) is refused, and the current one
stays. It also stays while the store does not answer. A newer version is first tried in a process of its own
(`encoder.trial`), so that one that kills its process or never ends does not do so here.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from encoder import Encoder
from encoder.errors import ConfigurationError, StoreUnavailable, TransientError
from encoder.model import load_model
from encoder.reference import Reference, parse
from encoder.store.cache import cached_model
from encoder.store.store import ModelStore
from encoder.trial import try_model
from pipelines.enrich.model_version import folder_digest

__all__ = ["FollowedModel", "ModelFollower"]

Accept = Callable[[Encoder], None]
Trial = Callable[[Path], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FollowedModel:
    """A model that is ready to use.

    Attributes:
        encoder: its kernels are compiled and its tables are in memory.
        label: what the column `model_version` says: `minilm@7`, or `minilm@sha256:…` for a folder.
        version: its number in the store, or 0 for a folder.
        since: when it was loaded, seconds since the epoch.
    """

    encoder: Encoder
    label: str
    version: int
    since: float


class ModelFollower:
    """Holds the model to use now, and replaces it by newer versions.

    Attributes:
        refused: the number of versions that could not be used.
        unanswered: how often the store did not answer.
        from_cache: whether the first model came from the local cache because the store did not answer.
    """

    def __init__(
        self,
        reference: Reference,
        model: FollowedModel,
        *,
        threads: int,
        from_cache: bool = False,
        accept: Accept | None = None,
        trial: Trial = try_model,
    ) -> None:
        self.refused = 0
        self.unanswered = 0
        self.from_cache = from_cache
        self._reference = reference
        self._model = model
        self._threads = threads
        self._accept = accept
        self._trial = trial
        self._refused: set[int] = set()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def start(
        cls,
        ref: str,
        *,
        pin: bool = False,
        every: float = 30.0,
        threads: int = 1,
        accept: Accept | None = None,
        trial: Trial = try_model,
    ) -> Self:
        """Load a model, and follow it if the REF is the latest version of a store.

        Args:
            ref: a REF of `encoder.reference`; a version number, a digest or a folder is not followed.
            pin: keep the version that is the latest now.
            every: seconds between two checks for a newer version.
            threads: threads of the encoder.
            accept: raises an error for a version to refuse.
            trial: tries the folder of a newer version; raises an error for one to refuse.

        Raises:
            MillstreamError: the model cannot be loaded. If the store does not answer, the newest version in
                the local cache is used.
        """
        reference = parse(ref)
        if reference.kind == "folder":
            folder = Path(reference.location)
            label = f"{folder.absolute().name}@{folder_digest(folder)[:19]}"
            encoder = _warm(Encoder(load_model(folder), threads=threads))
            follower = cls(reference, FollowedModel(encoder, label, 0, time.time()), threads=threads)
            follower.only_if(accept)
            return follower
        from_cache = False
        try:
            model = _load(reference, threads)
        except StoreUnavailable as error:
            model = _load(reference, threads, offline_ok=True)
            from_cache = True
            _log.warning("%s; starting with %s from the local cache", error, model.label)
        follower = cls(reference, model, threads=threads, from_cache=from_cache, trial=trial)
        follower.only_if(accept)
        if reference.selector == "latest" and not pin:
            follower.follow(every)
        return follower

    def only_if(self, accept: Accept | None) -> None:
        """Refuse versions for which `accept` raises an error, from now on.

        Raises:
            MillstreamError: `accept` refuses the current model.
        """
        if accept is not None:
            accept(self._model.encoder)
        self._accept = accept

    def current(self) -> FollowedModel:
        """The model to use for the next batch; never blocks."""
        return self._model

    def close(self) -> None:
        """Stop following; a running download finishes by itself."""
        self._stopped.set()

    def follow(self, every: float) -> None:
        """Check the store for a newer version every `every` seconds, in a thread, until `close`."""

        def loop() -> None:
            while not self._stopped.wait(every):
                self.poll()

        self._thread = threading.Thread(target=loop, name="model-follower", daemon=True)
        self._thread.start()

    def poll(self) -> bool:
        """Check the store once; returns whether the model changed. The follower's thread calls this."""
        newest = 0
        try:
            newest = max(ModelStore.open(self._reference.location).versions(self._model.version), default=0)
            if not newest or newest in self._refused:
                return False
            model = _load(
                Reference("store", self._reference.location, newest), self._threads, trial=self._trial
            )
            self._check_dim(model)
            if self._accept is not None:
                self._accept(model.encoder)
        except StoreUnavailable as error:
            self.unanswered += 1
            _log.warning("%s; keeping model %s", error, self._model.label)
            return False
        except TransientError as error:  # the machine is too busy for a trial: later
            self.refused += 1
            _log.warning("%s; keeping model %s for now", error, self._model.label)
            return False
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a version, the old one stays
            self.refused += 1
            self._refused.add(newest)
            _log.error("model version %d is refused, keeping %s: %s", newest, self._model.label, error)
            return False
        _log.info("model %s replaces %s", model.label, self._model.label)
        self._model = model
        return True

    def _check_dim(self, model: FollowedModel) -> None:
        """Refuse vectors of another length among those that readers have."""
        wanted, found = self._model.encoder.dim, model.encoder.dim
        if found != wanted:
            raise ConfigurationError(
                f"{model.label} has {found} dimensions, and {wanted} are written here: publish it under "
                "another name, and start a job with an output of its own"
            )


def _load(
    reference: Reference, threads: int, *, offline_ok: bool = False, trial: Trial | None = None
) -> FollowedModel:
    folder, manifest = cached_model(reference, offline_ok=offline_ok)
    if trial is not None:
        trial(folder)
    encoder = _warm(Encoder(load_model(folder), manifest, threads=threads))
    return FollowedModel(encoder, f"{manifest.name}@{manifest.version}", manifest.version, time.time())


def _warm(encoder: Encoder) -> Encoder:
    encoder.encode(["compile the kernels now, not in the first batch"])
    return encoder
