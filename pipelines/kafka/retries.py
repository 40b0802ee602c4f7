"""Repeat a call to the brokers while its error passes by itself."""

import time
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException

__all__ = ["passes_by_itself", "retried"]

_T = TypeVar("_T")
_STARTING = (  # the coordinator of a group or of transactions
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)


def passes_by_itself(error: KafkaError) -> bool:
    """Whether an error passes by itself, such as that of a coordinator that still loads."""
    return error.retriable() or error.code() in _STARTING


def _pause(_error: KafkaError) -> None:
    time.sleep(0.1)


def retried(
    call: Callable[[], _T],
    *,
    passes: Callable[[KafkaError], bool] = passes_by_itself,
    between: Callable[[KafkaError], None] = _pause,
    seconds: float = 20.0,
) -> _T:
    """Repeat a call while its error passes.

    Args:
        call: what to repeat.
        passes: whether to repeat it after this error.
        between: waits, and does what must not wait.
        seconds: after this time, the next error is the last one.

    Raises:
        KafkaException: the error of the last attempt.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except KafkaException as error:
            reason = error.args[0]
            if not passes(reason) or time.monotonic() > deadline:
                raise
            between(reason)
