"""The next version's manifest: what it says, its number, and its signatures."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as installed_version
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec.structs import replace

from encoder.errors import ConfigurationError, PublishedMeanwhile
from encoder.json_values import check_json
from encoder.store.manifest import File, Manifest, digest_of
from encoder.store.objects import Objects
from encoder.store.publish import commit, prove_create_only, signed
from encoder.store.versions import Versions

if TYPE_CHECKING:
    from encoder.store.signing.port import Signer

    Signers: TypeAlias = Signer | Sequence[Signer] | None

__all__ = ["Publisher"]


class Publisher:
    """Writes the manifests of one model.

    Args:
        objects: the model's root.
        versions: the versions that are there, and who may sign them.
        clock: returns the current time.
        new_id: returns a unique write_id.
    """

    def __init__(
        self,
        objects: Objects,
        versions: Versions,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._objects = objects
        self._versions = versions
        self._clock = clock
        self._new_id = new_id

    def check(self, signer: "Signers", **fields: Any) -> None:
        """Check, before anything is uploaded, that a version can be published.

        Args:
            signer: who will sign it.
            fields: values of its manifest.

        Raises:
            ConfigurationError: the trust would not accept the signer, or a field is not JSON.
            UnsafeStore: the storage has no create-only writes.
        """
        _check_fields(**fields)
        self.check_signer(signer)
        prove_create_only(self._objects)

    def check_signer(self, signer: "Signers") -> None:
        """Check that this store's trust would accept a version that is signed so.

        Raises:
            ConfigurationError: it would not.
        """
        trust = self._versions.trust
        if trust is None or trust.policy == "warn":
            return
        if not any(each.public_key() in trust.keys for each in _signers(signer)):
            raise ConfigurationError(
                f"no reader with the trusted keys would accept a version of {self._objects.uri} that is "
                f"{'signed by another key' if signer else 'not signed'}: sign it with a key whose public key "
                "is trusted"
            )

    def publish(self, signer: "Signers", *, only_after: int | None = None, **fields: Any) -> Manifest:
        """Write a manifest under the next number, which its signature binds; its blobs are there.

        Args:
            signer: who signs it.
            only_after: fail unless this is the highest version.
            fields: the fields of the manifest that do not follow from the others; `expires` is a duration.

        Raises:
            PublishedMeanwhile: with `only_after`, a higher version is there; nothing is published.
            ConfigurationError: a field is not JSON, or `expires` is no time to come.
        """
        draft, signers = self._draft(**fields), _signers(signer)
        _check_fields(teacher=draft.teacher, parameters=draft.parameters, quality=draft.quality)

        def complete(manifest: Manifest) -> Manifest:
            if not signers and not manifest.signatures and manifest.expires_at is None:
                return manifest  # without masks of format 1, which older readers know
            # A publisher may not know the key that signed what is there.
            known = (self._versions, Versions(self._objects))
            lower = (next(versions.newest_first(below=manifest.version), None) for versions in known)
            previous = next((digest for _, digest in filter(None, lower)), None)
            return signed(replace(manifest, format=max(manifest.format, 2), previous=previous), signers)

        highest = self._highest()
        if only_after is not None and highest != only_after:
            raise PublishedMeanwhile(
                f"version {highest} of {self._objects.uri} was published after {only_after}: nothing was "
                "published, try again"
            )
        return commit(
            self._objects,
            draft,
            highest,
            next_only=only_after is not None,
            taken=frozenset(self._versions.numbers(highest)),
            complete=complete,
        )

    def _draft(
        self,
        *,
        files: Sequence[File],
        masks: tuple[str, ...] = (),
        expires: timedelta | None = None,
        rolls_back_to: int | None = None,
        **fields: Any,
    ) -> Manifest:
        created_at = self._clock().astimezone(UTC)
        return Manifest(
            format=3 if masks else 1 if expires is None else 2,
            version=1,
            digest=digest_of(files),
            files=tuple(files),
            masks=masks,
            created_at=created_at,
            expires_at=None if expires is None else _expiry(created_at, expires),
            write_id=self._new_id(),
            rolls_back_to=rolls_back_to,
            created_by=f"millstream {installed_version('millstream')}",
            **fields,
        )

    def _highest(self) -> int:
        """The number that the next version comes after; with trust, what is no version has none."""
        if self._versions.trust is None:
            return max(self._versions.numbers(), default=0)
        return max((found.version for found, _ in islice(self._versions.newest_first(), 1)), default=0)


def _check_fields(**fields: Any) -> None:
    for name, value in fields.items():
        check_json(value, f"`{name}` of a version", ConfigurationError)


def _expiry(created_at: datetime, expires: timedelta) -> datetime:
    try:
        expires_at = created_at + expires
    except OverflowError:
        expires_at = created_at
    if expires_at <= created_at:
        raise ConfigurationError(f"`expires` must be positive and end before the year 10000: {expires}")
    return expires_at


def _signers(signer: "Signers") -> "Sequence[Signer]":
    return signer if isinstance(signer, Sequence) else [signer] if signer else []
