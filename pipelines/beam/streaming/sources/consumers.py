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
        self._waiting: dict[Place, tuple[object, _Consumer]] = {}

    def take(self, place: Place) -> _Consumer | None:
        """The consumer that waits at a place, for the caller alone; None if there is none."""
        with self._lock:
            _, consumer = self._waiting.pop(place, (None, None))
        return consumer

    def leave(self, place: Place, consumer: _Consumer) -> object:
        """Let a consumer wait at a place; another one that waits there is closed.

        Returns:
            What `drop` wants: whoever takes the consumer may leave it here again.
        """
        left = object()
        with self._lock:
            _, other = self._waiting.pop(place, (None, None))
            self._waiting[place] = left, consumer
        if other is not None:
            other.close()
        return left

    def drop(self, place: Place, left: object) -> None:
        """Close a consumer that was left, unless somebody has taken it since."""
        with self._lock:
            found, consumer = self._waiting.get(place, (None, None))
            if found is left:
                del self._waiting[place]
        if found is left and consumer is not None:
            consumer.close()
