"""`Objects`: what the store needs of a bucket or a folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

__all__ = ["ObjectInfo", "Objects"]


@dataclass(frozen=True)
class ObjectInfo:
    """An object: its key, its size in bytes, and when it was last written (UTC)."""

    key: str
    size: int
    modified: datetime


class Objects(Protocol):
    """Objects under one root.

    Every method raises `StoreUnavailable` if the storage does not answer, `ConfigurationError` if it refuses
    the credentials, and `NotInStore` if a key does not exist that must. No other error leaves it.
    """

    uri: str
    """The root, without a trailing slash."""

    def create(self, key: str, data: bytes | memoryview) -> bool:
        """Write an object, whole or not at all, unless the key exists; whether it was written."""

    def overwrite(self, key: str, data: bytes | memoryview) -> None:
        """Write an object, whole or not at all, whether it exists or not."""

    def read(self, key: str, at_most: int | None = None) -> bytes:
        """The bytes of an object, or the first `at_most` of them."""

    def read_end(self, key: str, n_bytes: int) -> bytes:
        """The last bytes of an object, at most `n_bytes`."""

    def stream(self, key: str) -> Iterator[bytes]:
        """The bytes of an object, a few megabytes at a time."""

    def stat(self, key: str) -> ObjectInfo | None:
        """The size and time of an object, or None if it does not exist."""

    def scan(self, folder: str, after: str = "") -> list[ObjectInfo]:
        """The objects directly in a folder with keys above `after`, sorted by key."""

    def folders(self) -> list[str]:
        """The names of the folders directly under the root, sorted."""

    def delete(self, key: str) -> None:
        """Remove an object, if it exists."""
