"""The versions under one root: which objects in `v/` are versions, and which one a selector means.

An object that is not a manifest is no version, and with trust neither is one that no trusted key signed. It
is skipped and logged once, so that it blocks neither `latest` nor a digest nor the versions around it.
`refused` tells which objects these are and why.
"""

import hashlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from encoder.errors import BadSignature, CorruptVersion, IntegrityError, NotInStore
from encoder.reference import Selector
from encoder.store.manifest import HIGHEST_NUMBER, LARGEST_MANIFEST, Manifest, decode, key_of, number_of
from encoder.store.objects import ObjectInfo, Objects

if TYPE_CHECKING:
    from encoder.store.signing.trust import Trust

__all__ = ["Versions"]

_log = logging.getLogger(__name__)
_told: set[str] = set()
"""What this process has logged, since readers open a store again and again."""


class Versions:
    """The versions under one root.

    Args:
        objects: the root.
        trust: who may sign versions; None means that versions need no signature.
        name: the model's name; by default the last part of the root's URI.
    """

    def __init__(self, objects: Objects, trust: "Trust | None" = None, name: str | None = None) -> None:
        self.trust = trust
        self._objects = objects
        self._name = name or objects.uri.rpartition("/")[2]
        self._refused: dict[ObjectInfo, str] = {}

    def numbers(self, after: int = 0) -> list[int]:
        """The numbers above `after` that are taken, ascending, by versions or by other objects."""
        return [number for number, _ in self._listed(after)]

    def read(self, number: int) -> Manifest:
        """The version of a number.

        Raises:
            NotInStore: there is none.
            CorruptVersion: what is there is not a manifest.
            BadSignature: no trusted key signed it.
        """
        manifest, _ = self._read(number)
        self._check(manifest)
        return manifest

    def newest_first(self, after: int = 0, below: int = HIGHEST_NUMBER + 1) -> Iterator[tuple[Manifest, str]]:
        """The versions above `after` and below `below`, and the sha256 (hex) of each manifest's bytes."""
        listed = [(number, info) for number, info in self._listed(after) if number < below]
        yield from ((manifest, digest) for manifest, digest, _ in self._accepted(listed))

    def latest_first(self, after: int = 0) -> Iterator[Manifest]:
        """The versions above `after` that may be the latest: with trust, each follows one in the store."""
        listed = self._listed(after if self.trust is None else 0)
        for manifest, _, info in self._accepted([each for each in listed if each[0] > after]):
            try:
                self._check_history(manifest, [number for number, _ in listed if number < manifest.version])
            except BadSignature as error:
                self._refuse(info, str(error))
            else:
                yield manifest

    def _accepted(self, listed: list[tuple[int, ObjectInfo]]) -> Iterator[tuple[Manifest, str, ObjectInfo]]:
        for number, info in reversed(listed):
            if info not in self._refused:
                try:
                    manifest, digest = self._read(number)
                    self._check(manifest)
                except NotInStore:  # prune just removed it
                    continue
                except IntegrityError as error:
                    self._refuse(info, str(error))
                    continue
                yield manifest, digest, info

    def find(self, selector: Selector) -> Manifest | None:
        """The version that a selector means: `latest`, a number, or a digest's beginning.

        Raises:
            CorruptVersion: the selector is a number, and what is there is not a manifest.
            BadSignature: the selector is a number whose version no trusted key signed.
        """
        if isinstance(selector, int):
            try:
                return self.read(selector)
            except NotInStore:
                return None
        if selector == "latest":
            return next(self.latest_first(), None)
        return next((found for found, _ in self.newest_first() if found.digest.startswith(selector)), None)

    def refused(self) -> dict[int, str]:
        """The numbers that are taken by no version, and why each is none. It reads every manifest."""
        for _ in self.newest_first():
            pass
        return {number: self._refused[info] for number, info in self._listed(0) if info in self._refused}

    def skipped(self) -> dict[int, str]:
        """What was read so far and is no version: the number and the reason of each."""
        return {number_of(info.key) or 0: reason for info, reason in self._refused.items()}

    def _listed(self, after: int) -> list[tuple[int, ObjectInfo]]:
        """The numbers above `after` and their objects, ascending; others may lie in `v/`, also deeper."""
        found = [(number_of(info.key), info) for info in self._objects.scan("v", after=key_of(after))]
        return [(number, info) for number, info in found if number and info.key == key_of(number)]

    def _read(self, number: int) -> tuple[Manifest, str]:
        where = self._where(number)
        data = self._objects.read(key_of(number), LARGEST_MANIFEST + 1)
        if len(data) > LARGEST_MANIFEST:
            raise CorruptVersion(f"{where} is not a manifest: it has over 4 MiB")
        return decode(data, where), hashlib.sha256(data).hexdigest()

    def _check(self, manifest: Manifest) -> None:
        """Refuse what is not trusted; with the policy `warn`, say so once."""
        if self.trust is None:
            return
        try:
            self.trust.check(manifest, self._name)
        except BadSignature as error:
            self._distrust(manifest, str(error))

    def _check_history(self, manifest: Manifest, lower: list[int]) -> None:
        """Refuse a version whose `previous` is not in the store, unless no trusted version is below it."""
        if self.trust is None or not manifest.signatures:
            return
        trusted = None
        for number in reversed(lower):
            try:
                before, digest = self._read(number)
                if digest == manifest.previous:
                    return
                self.trust.check(before, self._name)
                trusted = trusted or number
            except (IntegrityError, NotInStore):
                continue
        if trusted:
            self._distrust(manifest, f"it does not follow version {trusted}, so history was rewritten")

    def _distrust(self, manifest: Manifest, reason: str) -> None:
        problem = f"{self._where(manifest.version)} is not trusted: {reason}"
        if self.trust is not None and self.trust.policy == "require":
            raise BadSignature(problem)
        _tell(f"{problem}; it is used, as the trust policy is warn")

    def _where(self, number: int) -> str:
        return f"{self._objects.uri}/{key_of(number)}"

    def _refuse(self, info: ObjectInfo, reason: str) -> None:
        """Remember an object until it changes, so that it is read and logged once."""
        self._refused[info] = reason
        _tell(f"skipped, since it is not a version: {reason}")


def _tell(message: str) -> None:
    if message not in _told:
        _told.add(message)
        _log.warning("%s", message)
