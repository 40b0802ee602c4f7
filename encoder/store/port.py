"""The port to storage: what the store needs of a bucket or a folder, and no more."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

__all__ = ["ObjectInfo", "Objects"]


@dataclass(frozen=True)
class ObjectInfo:
    """An object in a store: its key, its size in bytes, and when it was written (UTC)."""

    key: str
    size: int
    modified: datetime


class Objects(Protocol):
    """Objects under one root.

    Every method raises `StoreUnavailable` when the storage does not answer, `ConfigurationError` when it
    refuses the credentials, and `NotInStore` where a key that must exist does not.
    """

    uri: str
    """The root, without a slash at its end."""

    def create(self, key: str, data: bytes | memoryview) -> bool:
        """Write an object that does not exist yet, whole or not at all; False if the key exists."""

    def overwrite(self, key: str, data: bytes | memoryview) -> None:
        """Write an object, whole or not at all, whether it exists or not."""

    def read(self, key: str) -> bytes:
        """The bytes of an object."""

    def read_end(self, key: str, n_bytes: int) -> bytes:
        """The last bytes of an object, at most `n_bytes`."""

    def stream(self, key: str) -> Iterator[bytes]:
        """The bytes of an object, a few megabytes at a time."""

    def stat(self, key: str) -> ObjectInfo | None:
        """Size and time of an object, or None if there is none."""

    def scan(self, folder: str, after: str = "") -> list[ObjectInfo]:
        """The objects directly in a folder, sorted by key; those after the key `after`, if given."""

    def folders(self) -> list[str]:
        """The names of the folders directly under the root, sorted."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens if there is none."""
