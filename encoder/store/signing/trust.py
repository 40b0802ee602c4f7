"""Whom a reader trusts, and which attacks on a store that defeats.

Whoever can write to a store can add, change and remove objects, but has no trusted key. With trust, a
manifest is a version only if it is signed by a trusted key, as the version of this name and number; it is
verified before any other file of the version is read. The attacks have the names that The Update Framework
gives them:

- Arbitrary software (an unsigned version, a wrong key, an exchanged file, an added head): the signature
  binds the manifest, and the manifest binds each file by size and SHA-256. What is not signed is no
  version.
- Rollback (a manifest under a higher number, or newer versions removed): the signature binds the number,
  and `latest` never goes below the highest version that this machine used. A rollback that is meant is a
  new version with a higher number.
- Freeze (newer versions are withheld): a version has an expiry. A reader goes on with an expired version,
  since an old model is better than none, and reports it in a metric, for which there is an alert.
- Fast-forward (a number so high that no newer version can come): a number counts only if its version is
  verified, for readers and for publishers. After a stolen key is withdrawn, what it signed does not count
  either, on machines that used it too.
- Mix-and-match (files of several versions together): one signature binds all files of a version.
- Wrong target (another model's version, or one of another store): the signature binds the name, and the
  name is the last part of the store's URI. A store of the same name elsewhere needs a key of its own, or it
  is told apart by its history:
- Rewritten history (a version is exchanged for another one that was signed too): each version holds the
  SHA-256 of the manifest before it. `latest` refuses a version that does not follow the one before it in
  the store, or the one that this machine used.
- Endless data: a manifest over 4 MiB or with over 16 signatures is refused, and so is a file with more
  bytes than its manifest says. A program that runs reads what it refused once.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self, cast, get_args

from encoder.errors import BadSignature, ConfigurationError
from encoder.store.manifest import Manifest

__all__ = ["KEYS_VARIABLE", "POLICY_VARIABLE", "Policy", "Trust", "Trusted"]

Policy = Literal["require", "warn"]
"""What becomes of a version that is not trusted: it is no version, or it is used and the log says so."""

KEYS_VARIABLE, POLICY_VARIABLE = "MILLSTREAM_TRUST", "MILLSTREAM_TRUST_POLICY"
"""The environment variables that say whom to trust where a caller does not."""

_MOST_SIGNATURES = 16


@dataclass(frozen=True)
class Trust:
    """The public keys that may sign versions; it can be pickled, so that workers need no file.

    Attributes:
        keys: the keys as PEM texts; at least one.
        policy: what becomes of a version that none of them signed.
    """

    keys: tuple[bytes, ...]
    policy: Policy = "require"

    @classmethod
    def of(cls, keys: "Trusted" = None, policy: str | None = None) -> Self | None:
        """The trust that a caller or the environment asks for.

        Args:
            keys: files of public keys, or their PEM texts; none of them means no trust. By default those of
                `MILLSTREAM_TRUST`, separated as in `PATH`.
            policy: `require` or `warn`; by default `MILLSTREAM_TRUST_POLICY`, or `require`.

        Returns:
            The trust, or None without a key.

        Raises:
            ConfigurationError: a key cannot be read, or the policy is unknown.
            MissingExtra: `cryptography` is not installed.
        """
        if isinstance(keys, cls):
            return keys
        if keys is None:
            keys = [part for part in os.environ.get(KEYS_VARIABLE, "").split(os.pathsep) if part.strip()]
        elif isinstance(keys, str | bytes | os.PathLike):
            keys = [keys]
        policy = policy or os.environ.get(POLICY_VARIABLE) or "require"
        if policy not in get_args(Policy):
            raise ConfigurationError(f"the trust policy is {policy!r}: use require or warn")
        found = tuple(dict.fromkeys(_pem(key) for key in cast("Iterable[_Key]", keys)))
        return cls(found, cast("Policy", policy)) if found else None

    def check(self, manifest: Manifest, name: str) -> None:
        """Check that a trusted key signed a manifest, and that it is of this model.

        Args:
            manifest: a manifest, whose number is that of its key.
            name: the model's name, the last part of the store's URI.

        Raises:
            BadSignature: it is not trusted; the message says why.
        """
        from encoder.store.signing.bundle import check_signature

        if not manifest.signatures:
            raise BadSignature("it is not signed")
        if len(manifest.signatures) > _MOST_SIGNATURES:
            raise BadSignature(f"it has {len(manifest.signatures)} signatures, more than {_MOST_SIGNATURES}")
        if manifest.name != name:
            raise BadSignature(f"it is a version of {manifest.name}")
        reasons = []
        for bundle in manifest.signatures:
            for key in self.keys:
                try:
                    return check_signature(manifest, bundle, key)
                except BadSignature as error:
                    reasons.append(str(error))
        raise BadSignature("; ".join(dict.fromkeys(reasons)))


_Key = str | bytes | os.PathLike[str]

Trusted = Trust | _Key | Iterable[_Key] | None
"""What callers give: a `Trust`, keys as files or PEM texts, or None for what the environment says."""


def _pem(key: _Key) -> bytes:
    from encoder.store.signing.public_keys import normal_key, read_public_key  # needs an optional dependency

    if isinstance(key, bytes) or (isinstance(key, str) and "-----BEGIN " in key):
        return normal_key(key, "a trusted key")
    return read_public_key(key)
