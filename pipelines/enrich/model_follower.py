"""Following a model: newer versions of a store are loaded in the background while work continues.

For programs that run for months: the Kafka worker and streaming Beam pipelines. A process has one follower.
It owns a thread and cannot be pickled, so a Beam DoFn creates it in `setup` and closes it in `teardown`:

    follower = ModelFollower.start("s3://bucket/models/minilm@latest")
    ...
    model = follower.current()  # once a batch: all its rows are of one version
    enrichment(batch, model.encoder, model.label)
    ...
    follower.close()

A version that cannot be used (not trusted, damaged, not a model, without a required head) is refused, and the
current one stays. A program that starts takes the newest version that can be used. The model also stays while
the store does not answer. A version that is new on this machine is first tried in a process of its own
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
from encoder.reference import parse
from encoder.store.cache.tried import Trial
from encoder.store.manifest import Manifest
from encoder.store.newest import NewestVersion, load_version
from encoder.store.signing.trust import Trusted
from encoder.trial import try_model
from pipelines.enrich.model_version import folder_digest, warmed

__all__ = ["FollowedModel", "ModelFollower"]

Accept = Callable[[Encoder], None]
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

    @property
    def expires(self) -> float:
        """When a newer version must have come, seconds since the epoch; 0 for never."""
        manifest = self.encoder.manifest
        return manifest.expires_at.timestamp() if manifest and manifest.expires_at else 0.0


class ModelFollower:
    """Holds the model to use now, and replaces it by newer versions.

    Attributes:
        unanswered: how often the store did not answer.
        from_cache: whether the first model came from the local cache because the store did not answer.
    """

    def __init__(self, *, threads: int = 1, accept: Accept | None = None) -> None:
        self.unanswered = 0
        self.from_cache = False
        self._threads = threads
        self._accept = accept
        self._postponed = 0
        self._model: FollowedModel | None = None
        self._newest: NewestVersion[FollowedModel] | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def refused(self) -> int:
        """The number of versions that could not be used, and of trials that the machine was too busy for."""
        return self._postponed + (len(self._newest.refused) if self._newest else 0)

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
        trust: Trusted = None,
    ) -> Self:
        """Load a model, and follow it if the REF is the latest version of a store.

        Args:
            ref: a REF of `encoder.reference`; a version number, a digest or a folder is not followed.
            pin: keep the version that is the latest now.
            every: seconds between two checks for a newer version.
            threads: threads of the encoder.
            accept: raises an error for a version to refuse.
            trial: tries the folder of a version that this machine has not tried yet; raises an error for one
                to refuse.
            trust: the public keys that may sign versions, as for `ModelStore.open`.

        Raises:
            MillstreamError: the model cannot be loaded, or, for the latest version, no version can be used.
                If the store does not answer, the newest version in the local cache is used.
        """
        reference = parse(ref)
        follower = cls(threads=threads, accept=accept)
        if reference.kind == "folder":
            follower._model = follower._of_folder(Path(reference.location))
        elif reference.selector != "latest":
            follower._model = load_version(reference, follower._load, trust=trust, trial=trial)
        else:
            load, report = follower._load, follower._report
            follower._start(NewestVersion(reference.location, load, trust=trust, trial=trial, report=report))
            if not pin:
                follower.follow(every)
        return follower

    def _start(self, newest: NewestVersion[FollowedModel]) -> None:
        self._newest = newest
        self._model = newest.start(offline_ok=True)
        self.from_cache = newest.unanswered is not None
        if self.from_cache:
            _log.warning("%s; starting with %s from the local cache", newest.unanswered, self._model.label)

    def only_if(self, accept: Accept | None) -> None:
        """Refuse versions for which `accept` raises an error, from now on.

        Raises:
            MillstreamError: `accept` refuses the current model.
        """
        if accept is not None:
            accept(self.current().encoder)
        self._accept = accept

    def current(self) -> FollowedModel:
        """The model to use for the next batch; never blocks."""
        assert self._model is not None, "start() makes followers"
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
        if self._newest is None:
            return False
        before = self.current()
        try:
            model = self._newest.newer(before.version)
        except StoreUnavailable as error:
            self.unanswered += 1
            _log.warning("%s; keeping model %s", error, before.label)
            return False
        except TransientError as error:  # the machine is too busy for a trial: later
            self._postponed += 1
            _log.warning("%s; keeping model %s for now", error, before.label)
            return False
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the store, the model stays
            self.unanswered += 1
            _log.warning("%s; keeping model %s", error, before.label)
            return False
        if model is None:
            return False
        _log.info("model %s replaces %s", model.label, before.label)
        self._model = model
        return True

    def _load(self, folder: Path, manifest: Manifest) -> FollowedModel:
        """Load a version, unless it may not replace the current one."""
        encoder = warmed(Encoder(load_model(folder), manifest, threads=self._threads))
        label = f"{manifest.name}@{manifest.version}"
        if self._model is not None and self._model.encoder.dim != encoder.dim:
            raise ConfigurationError(
                f"{label} has {encoder.dim} dimensions, and {self._model.encoder.dim} are written here: "
                "publish it under another name, and start a job with an output of its own"
            )
        if self._accept is not None:
            self._accept(encoder)
        return FollowedModel(encoder, label, manifest.version, time.time())

    def _of_folder(self, folder: Path) -> FollowedModel:
        label = f"{folder.absolute().name}@{folder_digest(folder)[:19]}"
        encoder = warmed(Encoder(load_model(folder), threads=self._threads))
        if self._accept is not None:
            self._accept(encoder)
        return FollowedModel(encoder, label, 0, time.time())

    def _report(self, number: int, error: Exception) -> None:
        keeping = f", keeping {self._model.label}" if self._model else ""
        _log.error("model version %d is refused%s: %s", number, keeping, error)
