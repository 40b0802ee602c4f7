"""Doubles of storage: in memory with a clock of its own, and with replies that get lost."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from encoder.errors import NotInStore, StoreUnavailable
from encoder.store.objects import ObjectInfo

__all__ = ["Clock", "DeadObjects", "DictObjects", "LossyObjects"]


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += timedelta(**duration)


class DictObjects:
    """Objects in a dictionary; `modified` is the clock's time."""

    def __init__(self, clock: Callable[[], datetime], uri: str = "dict://models/minilm") -> None:
        self.uri = uri
        self.content: dict[str, tuple[bytes, datetime]] = {}
        self._clock = clock

    def create(self, key: str, data: bytes) -> bool:
        if key in self.content:
            return False
        self.overwrite(key, data)
        return True

    def overwrite(self, key: str, data: bytes) -> None:
        self.content[key] = (bytes(data), self._clock())

    def read(self, key: str, at_most: int | None = None) -> bytes:
        if key not in self.content:
            raise NotInStore(f"{self.uri} has no {key}")
        return self.content[key][0][:at_most]

    def read_end(self, key: str, n_bytes: int) -> bytes:
        return self.read(key)[-n_bytes:]

    def stream(self, key: str) -> Iterator[bytes]:
        data = self.read(key)
        yield from (data[start : start + 7] for start in range(0, len(data), 7))

    def stat(self, key: str) -> ObjectInfo | None:
        found = self.content.get(key)
        return ObjectInfo(key, len(found[0]), found[1]) if found else None

    def scan(self, folder: str, after: str = "") -> list[ObjectInfo]:
        keys = sorted(key for key in self.content if key.startswith(f"{folder}/") and key > after)
        return [ObjectInfo(key, len(self.content[key][0]), self.content[key][1]) for key in keys]

    def folders(self) -> list[str]:
        return sorted({key.split("/")[0] for key in self.content if "/" in key})

    def delete(self, key: str) -> None:
        self.content.pop(key, None)


class LossyObjects(DictObjects):
    """Objects whose next writes to `v/` go wrong, in the ways of `faults`, one write each.

    `written, no reply`    the object is there, the client sees an error
    `written, then retry`  the object is there, the client's own retry is told that the key exists
    `not written`          the client sees an error and nothing is there
    `taken`                somebody else's manifest is there first
    """

    def __init__(self, clock: Callable[[], datetime], faults: list[str]) -> None:
        super().__init__(clock)
        self.faults = list(faults)
        self.theirs = b""

    def create(self, key: str, data: bytes) -> bool:
        fault = self.faults.pop(0) if self.faults and key.startswith("v/") else ""
        if fault == "taken":
            super().create(key, self.theirs)
        if fault != "not written":
            created = super().create(key, data)
        if fault in ("written, no reply", "not written"):
            raise StoreUnavailable(f"{self.uri} does not answer: reset")
        return created and fault != "written, then retry"


class DeadObjects:
    """A store that does not answer."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __getattr__(self, name: str):
        def refuse(*_arguments, **_options):
            raise StoreUnavailable(f"{self.uri} does not answer: it is dead")

        return refuse
