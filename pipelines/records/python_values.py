"""Values of Arrow arrays as Python objects, for JSON and MessagePack.

Python's times have microseconds and the years 1 to 9999. Columns with other times become text in ISO 8601, as
in text templates. Times with a zone come in UTC: writers cut seconds off the zones of long ago.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from pipelines.records.text import as_text

__all__ = ["python_value", "python_values"]

_FIRST, _END = -62_135_596_800, 253_402_300_800  # seconds of the years 1 to 9999
_SECONDS = {"s": 1, "ms": 10**3, "us": 10**6}
_DAY = 86_400


def python_values(values: pa.Array) -> list[Any]:
    """`(n,)` values as a list.

    Raises:
        UnicodeDecodeError: there is text that is not UTF-8.
    """
    kind = values.type
    if pt.is_timestamp(kind) or pt.is_date(kind):
        if not _held(values):
            return as_text(values).to_pylist()  # type: ignore[no-any-return] # texts
        utc = pt.is_timestamp(kind) and kind.tz is not None
        return (values.cast(pa.timestamp(kind.unit, "UTC")) if utc else values).to_pylist()  # type: ignore[no-any-return] # times
    if _is_text(kind):
        return as_text(values).to_pylist()  # type: ignore[no-any-return] # texts
    if pt.is_nested(kind) and _has_times(kind):
        return [python_value(value) for value in values]
    return values.to_pylist()  # type: ignore[no-any-return] # any values


def python_value(scalar: pa.Scalar) -> Any:
    """One value; see `python_values`."""
    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.StructScalar):
        return {name: python_value(inner) for name, inner in scalar.items()}
    if isinstance(scalar, pa.MapScalar):
        return [(python_value(one["key"]), python_value(one["value"])) for one in scalar.values]
    if isinstance(scalar, pa.ListScalar):  # of any kind
        return [python_value(inner) for inner in scalar.values]
    if isinstance(scalar, pa.DictionaryScalar | pa.RunEndEncodedScalar | pa.UnionScalar):
        return python_value(scalar.value)
    return python_values(pa.repeat(scalar, 1))[0] if _has_times(scalar.type) else scalar.as_py()


def _held(values: pa.Array) -> bool:
    """Whether Python holds all dates or timestamps."""
    kind = values.type
    if pt.is_timestamp(kind) and kind.unit == "ns":
        return False
    days = pt.is_date32(kind)
    unit = 1 if days else _SECONDS[kind.unit] if pt.is_timestamp(kind) else _SECONDS["ms"]
    numbers = values.cast(pa.int32() if days else pa.int64())
    bounds = pc.min_max(numbers).as_py()
    first, end = (_FIRST // _DAY, _END // _DAY) if days else (_FIRST * unit, _END * unit)
    return bounds["min"] is None or (first <= bounds["min"] and bounds["max"] < end)


def _is_text(kind: pa.DataType) -> bool:
    """Whether a type has values that Python does not hold, other than dates and timestamps."""
    nanoseconds = (pt.is_time64(kind) or pt.is_duration(kind)) and kind.unit == "ns"
    return bool(nanoseconds or pt.is_interval(kind))


def _has_times(kind: pa.DataType) -> bool:
    if pt.is_dictionary(kind) or pt.is_run_end_encoded(kind):
        return _has_times(kind.value_type)
    if pt.is_nested(kind):
        return any(_has_times(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pt.is_timestamp(kind) or pt.is_date(kind) or _is_text(kind))
