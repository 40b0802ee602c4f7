"""Consumers that wait, in this process, for the reader that goes on where another one stopped.

Beam keeps a reader from one bundle to the next in the `DoFn` that had it. Where bundles overlap, the next one
is often another `DoFn`'s. Its reader would connect anew, and find nothing yet in the moment it has to look;
the one after it as well: on a busy machine a stream then reads nothing any more and holds hundreds of
connections.
"""

import threading
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Place", "WaitingConsumers"]

Place = tuple[Any, ...]
"""What is read, and the offsets of the next messages."""


class _Closed(Protocol):
    def close(self) -> None: ...


_Consumer = TypeVar("_Consumer", bound=_Closed)


class WaitingConsumers(Generic[_Consumer]):
    """By place; a consumer is with one reader or waits here, so two never use one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Place, _Consumer] = {}

    def take(self, place: Place) -> _Consumer | None:
        """The consumer that waits at a place, for the caller alone; None if there is none."""
        with self._lock:
            return self._waiting.pop(place, None)

    def leave(self, place: Place, consumer: _Consumer) -> None:
        """Let a consumer wait at a place; another one that waits there is closed."""
        with self._lock:
            other = self._waiting.pop(place, None)
            self._waiting[place] = consumer
        if other is not None:
            other.close()

    def drop(self, place: Place, consumer: _Consumer) -> None:
        """Close a consumer, unless somebody has taken it."""
        with self._lock:
            mine = self._waiting.get(place) is consumer
            if mine:
                del self._waiting[place]
        if mine:
            consumer.close()
