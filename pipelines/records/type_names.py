"""Types of columns as users write them: Arrow's names, as `millstream worker --check` prints them."""

import re
import zoneinfo

import pyarrow as pa
import pyarrow.types as pt

__all__ = ["EXAMPLES", "json_has", "named_type"]

EXAMPLES = (
    "int64 (int8 to uint64), float64, decimal(12,2), string, bool, binary, date, timestamp[us] or "
    "timestamp[us, tz=UTC]"
)
"""What to use instead of an unknown type, for errors."""

_DECIMAL = re.compile(r"decimal(128|256)?\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")
_ZONED = re.compile(r"timestamp\[(s|ms|us|ns),\s*tz=([^\]]+)\]")
_OFFSET = re.compile(r"[+-]([01]\d|2[0-3]):[0-5]\d")
_DIGITS = {"128": 38, "256": 76}


def named_type(name: str) -> pa.DataType:
    """The type with this name: one of Arrow's, `decimal(12,2)`, `date` or `timestamp[us, tz=UTC]`.

    Raises:
        ValueError: there is none.
    """
    if name == "date":
        return pa.date32()
    if found := _DECIMAL.fullmatch(name):
        return _decimal(found[1], int(found[2]), int(found[3] or 0))
    if found := _ZONED.fullmatch(name):
        _check_zone(found[2])
        return pa.timestamp(found[1], found[2])
    return pa.type_for_alias(name)


def _decimal(width: str | None, precision: int, scale: int) -> pa.DataType:
    width = width or ("128" if precision <= _DIGITS["128"] else "256")
    if not 1 <= precision <= _DIGITS[width] or scale > precision:
        raise ValueError(
            f"decimal{width} has 1 to {_DIGITS[width]} digits, of which some are behind the point"
        )
    return (pa.decimal128 if width == "128" else pa.decimal256)(precision, scale)


def _check_zone(zone: str) -> None:
    if _OFFSET.fullmatch(zone):
        return
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {zone!r}") from error


def json_has(kind: pa.DataType) -> bool:
    """Whether JSON has a way to write values of a type that is not nested; dates and timestamps are text."""
    return bool(
        pt.is_boolean(kind)
        or pt.is_integer(kind)
        or pt.is_float32(kind)
        or pt.is_float64(kind)
        or pt.is_decimal(kind)
        or pt.is_string(kind)
        or pt.is_large_string(kind)
        or pt.is_binary(kind)
        or pt.is_large_binary(kind)
        or pt.is_date32(kind)
        or pt.is_timestamp(kind)
    )
