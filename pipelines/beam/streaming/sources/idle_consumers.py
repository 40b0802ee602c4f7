"""Consumers that wait for the reader that continues where they stand."""

import threading
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["IdleConsumers", "Position"]

Position = tuple[Any, ...]
"""What a consumer reads, and the offsets of its next messages."""


class _Consumer(Protocol):
    def close(self) -> None: ...


Consumer = TypeVar("Consumer", bound=_Consumer)


class IdleConsumers(Generic[Consumer]):
    """Consumers of this process that no reader uses, kept for the reader that continues at their position.

    Beam keeps a reader between bundles in the `DoFn` that created it. Where bundles overlap, another `DoFn`
    often has the next bundle. Its reader would connect again and find nothing in the short time that it has,
    and so would the one after it: on a busy machine, a stream then stops reading and holds hundreds of
    connections.

    A consumer is either with one reader or here, so two readers never share one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[Position, tuple[object, Consumer]] = {}

    def take(self, position: Position) -> Consumer | None:
        """Remove and return the consumer at a position; None if there is none."""
        with self._lock:
            _, consumer = self._idle.pop(position, (None, None))
        return consumer

    def leave(self, position: Position, consumer: Consumer) -> object:
        """Keep a consumer; one that is at the position already is closed.

        Returns:
            A token for `drop`.
        """
        token = object()
        with self._lock:
            _, other = self._idle.pop(position, (None, None))
            self._idle[position] = token, consumer
        if other is not None:
            other.close()
        return token

    def drop(self, position: Position, token: object) -> None:
        """Close the consumer that `leave` returned the token for, unless a reader has taken it since."""
        with self._lock:
            found, consumer = self._idle.get(position, (None, None))
            if found is token:
                del self._idle[position]
        if found is token and consumer is not None:
            consumer.close()
