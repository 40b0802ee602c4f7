"""The versions under one root: which objects in `v/` are versions, and which one a selector means.

An object that is not a manifest is no version. It is skipped and logged once, so that it blocks neither
`latest` nor a digest nor the versions around it. `refused` tells which objects these are and why.
"""

import hashlib
import logging
from collections.abc import Iterator

from encoder.errors import CorruptVersion, IntegrityError, NotInStore
from encoder.reference import Selector
from encoder.store.manifest import LARGEST_MANIFEST, Manifest, decode, key_of, number_of
from encoder.store.objects import ObjectInfo, Objects

__all__ = ["Versions"]

_log = logging.getLogger(__name__)


class Versions:
    """The versions under one root.

    Args:
        objects: the root.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._refused: dict[ObjectInfo, str] = {}

    def numbers(self, after: int = 0) -> list[int]:
        """The numbers above `after` that are taken, ascending, by versions or by other objects."""
        return [number for number, _ in self._listed(after)]

    def read(self, number: int) -> Manifest:
        """The version of a number.

        Raises:
            NotInStore: there is none.
            CorruptVersion: what is there is not a manifest.
        """
        return self._read(number)[0]

    def newest_first(self, after: int = 0, below: int | None = None) -> Iterator[tuple[Manifest, str]]:
        """The versions above `after` and below `below`, and the sha256 (hex) of each manifest's bytes."""
        for number, info in reversed(self._listed(after)):
            if (below is None or number < below) and info not in self._refused:
                try:
                    manifest, data = self._read(number)
                except NotInStore:  # prune just removed it
                    continue
                except IntegrityError as error:
                    self._refuse(info, str(error))
                    continue
                yield manifest, hashlib.sha256(data).hexdigest()

    def find(self, selector: Selector) -> Manifest | None:
        """The version that a selector means: `latest`, a number, or a digest's beginning.

        Raises:
            CorruptVersion: the selector is a number, and what is there is not a manifest.
        """
        if isinstance(selector, int):
            try:
                return self.read(selector)
            except NotInStore:
                return None
        return next(
            (
                manifest
                for manifest, _ in self.newest_first()
                if selector == "latest" or manifest.digest.startswith(selector)
            ),
            None,
        )

    def refused(self) -> dict[int, str]:
        """The numbers that are taken by no version, and why each is none. It reads every manifest."""
        for _ in self.newest_first():
            pass
        return {number: self._refused[info] for number, info in self._listed(0) if info in self._refused}

    def _listed(self, after: int) -> list[tuple[int, ObjectInfo]]:
        """The numbers above `after` and their objects, ascending; others may lie in `v/`, also deeper."""
        found = [(number_of(info.key), info) for info in self._objects.scan("v", after=key_of(after))]
        return [(number, info) for number, info in found if number and info.key == key_of(number)]

    def _read(self, number: int) -> tuple[Manifest, bytes]:
        key = key_of(number)
        data = self._objects.read(key, LARGEST_MANIFEST + 1)
        if len(data) > LARGEST_MANIFEST:
            raise CorruptVersion(f"{self._objects.uri}/{key} is not a manifest: it has over 4 MiB")
        return decode(data, f"{self._objects.uri}/{key}"), data

    def _refuse(self, info: ObjectInfo, reason: str) -> None:
        """Remember an object until it changes, so that it is read and logged once."""
        self._refused[info] = reason
        _log.warning("skipped, it is no version: %s", reason)
