"""Headers of messages. Their names may be any bytes, which confluent_kafka cannot turn into text.

Then `headers()` raises SystemError, and a second call returns a name that is no object: whoever touches it
crashes the process. So such headers are marked when they are found, and never read again.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from encoder.errors import InputError

if TYPE_CHECKING:
    from confluent_kafka import Message

__all__ = ["all_headers", "of_each", "read_headers"]

_UNREADABLE: Any = object()
_marked: list[object] = []  # `_UNREADABLE`, once there were such headers: only then is it looked for
_WHY = "a header's name is not UTF-8"


def of_each(messages: Sequence["Message"], method: str) -> Iterator[Any]:
    """What a method of messages gives for each of them; the method of their class is the fastest way."""
    return map(getattr(type(messages[0]), method), messages) if messages else iter(())


def all_headers(messages: Sequence["Message"]) -> list[Any]:
    """The headers of each message, None where it has none.

    Raises:
        InputError: a name is not UTF-8: read the messages one by one with `read_headers`.
    """
    found: list[Any] = []
    try:
        found.extend(of_each(messages, "headers"))
    except (SystemError, UnicodeError) as error:
        messages[len(found)].set_headers(_UNREADABLE)
        _marked[:] = [_UNREADABLE]
        raise InputError(_WHY) from error
    if _marked and _UNREADABLE in found:
        raise InputError(_WHY)
    return found


def read_headers(message: "Message") -> list[tuple[str, bytes | None]]:
    """The headers of a message.

    Raises:
        InputError: a name is not UTF-8.
    """
    return all_headers([message])[0] or []
