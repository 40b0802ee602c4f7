"""Dead letters as Pub/Sub messages that Pub/Sub accepts, and what it accepts."""

from pipelines.beam.streaming.sinks.pubsub_requests import PubSubMessage
from pipelines.kafka.messages import TIMESTAMP
from pipelines.records.bad_rows import BadRow, Envelope
from pipelines.sinks.dead_letter_messages import dead_letter_headers

__all__ = ["KEY", "LARGEST", "dead_letter", "too_long"]

KEY = "millstream_key"
"""The attribute of a dead letter with the key of its Kafka message."""

LARGEST = 9_800_000
"""Bytes of data; Pub/Sub accepts 10 MB, with up to 128 kB of attributes."""

_MAX_ATTRIBUTE, _MAX_NAME, _MAX_ATTRIBUTES = 1024, 256, 100
_RESERVED = "goog"  # begins the names of Google's own attributes
_CUT = "__connect.errors.value.cut"
_OMITTED = "__connect.errors.headers.omitted"


def too_long(name: str, value: str) -> str | None:
    """Why Pub/Sub would not accept the value of an attribute; None if it would."""
    n = len(value.encode("utf-8", "backslashreplace"))
    if n <= _MAX_ATTRIBUTE:
        return None
    return f"{name} would have {n:,} bytes, and an attribute in Pub/Sub takes {_MAX_ATTRIBUTE:,}"


def dead_letter(bad: BadRow) -> PubSubMessage:
    """The original bytes, with attributes that say where they came from and what is wrong.

    What does not fit into a message is left out, and an attribute says so.
    """
    envelope, record = bad.envelope or Envelope(), bad.record or b""
    about = dead_letter_headers(bad)
    if envelope.key is not None:
        about.insert(0, (KEY, envelope.key))
    if envelope.timestamp is not None:
        about.insert(0, (TIMESTAMP, b"%d" % envelope.timestamp))
    if len(record) > LARGEST:
        about.append((_CUT, f"the first {LARGEST:,} of {len(record):,} bytes".encode()))
    attributes = {name: _text(value) for name, value in about}
    omitted = 0
    for name, value in envelope.headers:  # one of each name: an attribute has one value
        text = _text(value)
        taken = name not in attributes and len(attributes) < _MAX_ATTRIBUTES - 1 and _takes(name)
        if taken:
            attributes[name] = text
        omitted += not taken or len(text.encode()) < len(value or b"")
    if omitted:
        attributes[_OMITTED] = f"{omitted} of {len(envelope.headers)}, wholly or in part"
    return PubSubMessage(record[:LARGEST], attributes)


def _takes(name: str) -> bool:
    return 0 < len(name.encode()) <= _MAX_NAME and not name.startswith(_RESERVED)


def _text(value: bytes | None) -> str:
    """A value as text that fits into an attribute."""
    text = (value or b"").decode("utf-8", "backslashreplace")
    return text.encode()[:_MAX_ATTRIBUTE].decode("utf-8", "ignore")
