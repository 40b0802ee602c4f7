"""Confluent's wire format: which schema a value is written in.

    Avro       0x00, schema id (4 bytes, big endian), the record
    Protobuf   0x00, schema id (4 bytes, big endian), which message of the schema, the message

Which message is a list of numbers, outermost message first, as zigzag varints with their count in front; the
first message of a schema, `[0]`, is the one byte 0x00.
Source: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html
"""

__all__ = ["HEADER", "header", "message_indexes", "schema_id", "varint"]

HEADER = 5
"""Bytes in front of an Avro record, or of a Protobuf message's numbers."""

_MAGIC = b"\0"
_VARINT_BYTES = 5  # of a 32-bit number
_DEEPEST = 100  # messages inside messages: Protobuf itself reads no deeper


def header(number: int) -> bytes:
    """What stands in front of a record of the schema with this id."""
    return _MAGIC + number.to_bytes(4, "big")


def schema_id(value: bytes) -> int | None:
    """The id of a value's schema, or None if the value does not begin with one."""
    if len(value) < HEADER or value[:1] != _MAGIC:
        return None
    return int.from_bytes(value[1:HEADER], "big")


def message_indexes(value: bytes) -> tuple[tuple[int, ...], int]:
    """Which message of its schema a Protobuf value is.

    Returns:
        The numbers, outermost message first, and where the message begins.

    Raises:
        ValueError: the numbers end too early, or make no sense.
    """
    count, at = _zigzag(value, HEADER)
    if not count:
        return (0,), at
    if not 0 < count <= _DEEPEST:
        raise ValueError(f"{count} numbers say which message it is")
    indexes = []
    for _ in range(count):
        index, at = _zigzag(value, at)
        if index < 0:
            raise ValueError(f"message number {index}")
        indexes.append(index)
    return tuple(indexes), at


def _zigzag(value: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    for position in range(at, min(at + _VARINT_BYTES, len(value))):
        byte = value[position]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), position + 1
        shift += 7
    raise ValueError("the numbers that say which message it is do not end")


def varint(number: int) -> bytes:
    """A number as Avro and Protobuf write a `long` or an `sint64`: a zigzag varint.

    Args:
        number: from -2**63 up to 2**63 - 1.
    """
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)
