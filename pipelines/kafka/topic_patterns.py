"""Inputs that are regular expressions: which topics they match, and how Kafka's client writes them."""

import re

from encoder.errors import ConfigurationError

__all__ = ["INTERNAL_TOPICS", "matches", "subscription"]

INTERNAL_TOPICS = ("__consumer_offsets", "__transaction_state", "__share_group_state")
"""Kafka's own."""

_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?:?|[*+?}]\?|.", re.DOTALL)
_IN_BRACKETS = re.compile(r"\\(.)", re.DOTALL)
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_"}
_KEPT = "wWsSbB"  # escapes that the C library has, too


def matches(wanted: str, topic: str) -> bool:
    """Whether an input names a topic, or is a regular expression that matches it.

    Expressions match none of Kafka's own topics, as in other clients: each commit adds to one of them.

    Raises:
        ConfigurationError: the expression is invalid.
    """
    if not wanted.startswith("^"):
        return wanted == topic
    try:
        return re.search(wanted, topic) is not None and topic not in INTERNAL_TOPICS
    except re.error as error:
        raise ConfigurationError(f"invalid regular expression {wanted!r}: {error}") from error


def subscription(wanted: str) -> str:
    """An input as librdkafka subscribes to it: in POSIX's syntax, which lacks digits and unnumbered groups.

    Raises:
        ConfigurationError: the expression has something that POSIX has not.
    """
    if not wanted.startswith("^"):
        return wanted
    return "".join(_posix(part, wanted) for part in _PARTS.findall(wanted))


def _posix(part: str, wanted: str) -> str:
    if part == "(?:":
        return "("
    if part.startswith("(?") or (len(part) == 2 and part[0] in "*+?}"):
        raise _unknown(part, wanted)
    if part.startswith("[") and len(part) > 1:
        return _IN_BRACKETS.sub(lambda found: _bracketed(found[1], wanted), part)
    if part.startswith("\\"):
        if part[1:] in ("d", "D"):
            return "[0-9]" if part == r"\d" else "[^0-9]"
        if part[1:].isalnum() and part[1:] not in _KEPT:
            raise _unknown(part, wanted)
    return part


def _bracketed(char: str, wanted: str) -> str:
    """What an escape in brackets stands for, where a backslash is a plain character to POSIX."""
    if char in _CLASSES:
        return _CLASSES[char]
    if char.isalnum() or char in "]^-\\":
        raise _unknown(f"\\{char}", wanted)
    return char


def _unknown(part: str, wanted: str) -> ConfigurationError:
    return ConfigurationError(
        f"the regular expression {wanted!r} has {part!r}, which Kafka's client does not know there: write it "
        "in another way, or name the topics"
    )
