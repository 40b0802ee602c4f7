"""Loading the newest version that can be used, when a program starts and while it runs.

A version is refused if its manifest is no version's (`encoder.store.versions`), if its files cannot be
fetched or do not have their SHA-256, if it fails its trial (`encoder.trial`), or if it cannot be loaded. The
next lower one is tried then, but none below the highest version that this machine used. A number or a digest
means one version, which no other one replaces.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from encoder.errors import CorruptVersion, IntegrityError, NotInStore, StoreUnavailable, TransientError
from encoder.reference import Reference
from encoder.store.cache import UsedVersions, cached_model
from encoder.store.cache.tried import Trial, try_once
from encoder.store.manifest import Manifest
from encoder.store.signing.trust import Trust, Trusted
from encoder.store.store import ModelStore
from encoder.user_cache import cache_folder

__all__ = ["NewestVersion", "load_version"]

T = TypeVar("T")
_log = logging.getLogger(__name__)


def load_version(
    ref: Reference,
    load: Callable[[Path, Manifest], T],
    *,
    cache: Path | None = None,
    offline_ok: bool = False,
    trust: Trusted = None,
    trial: Trial | None = None,
) -> T:
    """Load the version that a reference means; for `latest`, the newest one that can be used.

    Args:
        ref: a reference to a store.
        load: loads a version from its folder; any error refuses the version.
        cache: as for `cached_model`.
        offline_ok: as for `cached_model`.
        trust: as for `cached_model`.
        trial: tries the folder of a version that this machine has not tried yet; any error refuses it.

    Raises:
        MillstreamError: there is no version that can be used; the message has the reason of each.
    """
    if ref.selector != "latest":
        folder, manifest = cached_model(ref, cache, trust=trust)
        if trial is not None:
            try_once(folder, cache or cache_folder(), trial)
        return load(folder, manifest)
    newest = NewestVersion(ref.location, load, cache=cache, trust=trust, trial=trial)
    return newest.start(offline_ok=offline_ok)


class NewestVersion(Generic[T]):
    """The newest version of a store that can be used.

    Args:
        uri: the model's root.
        load: loads a version from its folder; any error refuses the version.
        cache: as for `cached_model`.
        trust: as for `cached_model`.
        trial: as for `load_version`.
        report: called with the number of each version that is refused, and why; by default the log says it.

    Attributes:
        unanswered: the error of a store that did not answer when `start` took a version from the cache.
    """

    def __init__(
        self,
        uri: str,
        load: Callable[[Path, Manifest], T],
        *,
        cache: Path | None = None,
        trust: Trusted = None,
        trial: Trial | None = None,
        report: Callable[[int, Exception], None] | None = None,
    ) -> None:
        self.unanswered: StoreUnavailable | None = None
        self._report = report or self._log_refusal
        self._load = load
        self._trial = trial
        self._cache = cache or cache_folder()
        self._trust: Trusted = Trust.of(trust) or ()
        self._uri = uri
        self._store = ModelStore.open(uri, trust=self._trust)
        self._used = UsedVersions(self._cache, self._store.uri, self._trust or None)
        self._refused: dict[int, Exception] = {}

    @property
    def refused(self) -> dict[int, str]:
        """Why each version that was tried is not used, by its number."""
        tried = {number: str(error) for number, error in self._refused.items()}
        return {**self._store.skipped(), **tried}

    def start(self, *, offline_ok: bool = False) -> T:
        """Load the newest version that can be used, but none below the highest one that this machine used.

        Raises:
            MillstreamError: there is none; the message has the reason of each version.
        """
        try:
            used = self._used.highest()
            found = self.newer(used.version - 1 if used else 0)
            while found is None and used != (used := self._used.highest()):
                found = self.newer(used.version - 1 if used else 0)  # what cannot be loaded was not used
            if found is not None:
                return found
            if not self.refused:  # none at all, or only lower ones: say which
                manifest = self._store.manifest()
                self._used.check(Reference("store", self._uri), manifest, self._store)
        except StoreUnavailable as error:
            if not offline_ok:
                raise
            latest = Reference("store", self._uri)
            used_here = cached_model(latest, self._cache, offline_ok=True, trust=self._trust)
            self.unanswered = error
            return self._tried(*used_here)
        raise self._none(used)

    def newer(self, than: int) -> T | None:
        """Load the newest version above a number that can be used; None without one.

        A version that was refused is not tried again. One whose trial did not end is, but a lower one that
        can be used now is taken meanwhile.

        Raises:
            StoreUnavailable: the store does not answer.
            TransientError: no version could be tried to its end.
            ConfigurationError: the store refuses the credentials, or the cache cannot be written.
        """
        postponed: TransientError | None = None
        for manifest in self._store.newest_first(than):
            if manifest.version in self._refused:
                continue
            try:
                found = self._try(manifest)
            except StoreUnavailable:
                raise
            except TransientError as error:
                postponed = postponed or error
                continue
            if found is not None:
                if postponed is not None:
                    _log.warning("%s; using version %d of %s for now", postponed, manifest.version, self._uri)
                return found
        if postponed is not None:
            raise postponed
        return None

    def _try(self, manifest: Manifest) -> T | None:
        number = manifest.version
        latest, this = (Reference("store", self._uri, selector) for selector in ("latest", number))
        try:
            self._used.check(latest, manifest, self._store)
            folder, manifest = cached_model(this, self._cache, trust=self._trust)
        except NotInStore:  # prune just removed it
            return None
        except IntegrityError as error:
            self._refuse(number, error)
            return None
        try:
            found = self._tried(folder, manifest)
        except TransientError:  # it may be sound: it is tried again
            self._used.forget(manifest)
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, another version is tried
            self._used.forget(manifest)
            self._refuse(number, error)
            return None
        if manifest.expires_at is not None and manifest.expires_at < datetime.now(UTC):
            _log.warning(
                "version %d of %s expired on %s, and no newer one can be used: is the store out of date?",
                *(number, self._uri, f"{manifest.expires_at:%Y-%m-%d %H:%M} UTC"),
            )
        return found

    def _tried(self, folder: Path, manifest: Manifest) -> T:
        if self._trial is not None:
            try_once(folder, self._cache, self._trial)
        return self._load(folder, manifest)

    def _refuse(self, number: int, error: Exception) -> None:
        self._refused[number] = error
        self._report(number, error)

    def _log_refusal(self, number: int, error: Exception) -> None:
        _log.error("version %d of %s is refused: %s", number, self._uri, error)

    def _none(self, used: Manifest | None) -> Exception:
        """The error that no version can be used: the only reason, or all of them."""
        reasons = self.refused
        if len(reasons) == 1 and self._refused:
            return next(iter(self._refused.values()))
        listed = "; ".join(f"version {number}: {reason}" for number, reason in sorted(reasons.items()))
        lower = f"; version {used.version} was used here, so no lower one is" if used else ""
        return CorruptVersion(f"{self._uri} has no version that can be used: {listed}{lower}")
