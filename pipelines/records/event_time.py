"""Event time: when records happened."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from numpy.typing import NDArray

from encoder.errors import InputError

__all__ = ["EARLIEST", "LATEST", "NO_TIME", "event_times"]

NO_TIME = np.iinfo(np.int64).min
"""Stands for an event time that is missing or cannot be parsed."""

EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds: the first and the last event time; Python has no dates beyond the years 1 and 9999."""

_MICROS = pa.timestamp("us", "UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_APACHE, _RFC_2822 = "%d/%b/%Y:%H:%M:%S %z", "%a, %d %b %Y %H:%M:%S %z"
_NUMBER = re.compile(r"-?[0-9]{9,}(\.[0-9]*)?")
_LIMIT = 2.0**62
_UNITS = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (np.inf, 1e-3))
"""Numbers below the first are in a unit of so many microseconds: seconds, milli-, micro-, nanoseconds."""
_SCALES = {"s": 10**6, "ms": 1000, "us": 1}
_DAY = 86_400 * 10**6


def event_times(values: pa.Array) -> NDArray[np.int64]:
    """Convert a column to microseconds since the epoch.

    Args:
        values: `(n,)` timestamps or dates (UTC if they have no zone), strings of ISO 8601, RFC 2822 or
            Apache's access logs, or numbers since the epoch, which strings may hold too. The size of a number
            tells its unit: seconds below 1e11, milliseconds below 1e14, microseconds below 1e17, else
            nanoseconds.

    Returns:
        `(n,)` int64; `NO_TIME` where a value is null or cannot be parsed; just outside of `EARLIEST` and
        `LATEST` where it is outside of them.

    Raises:
        InputError: the column has another type.
    """
    kind = values.type
    if pt.is_dictionary(kind):
        return event_times(values.dictionary_decode())
    if pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind):
        return _of_numbers(values)
    if pt.is_string(kind) or pt.is_large_string(kind) or pt.is_null(kind):
        return _of_texts(values)
    if pt.is_timestamp(kind):
        return _of_timestamps(values)
    if pt.is_date32(kind):
        return _scaled(values.cast(pa.int32()).cast(pa.int64()), _DAY)
    if pt.is_date64(kind):
        return _scaled(values.cast(pa.int64()), 1000)
    raise InputError(f"event times cannot be {kind}: name a field of timestamps, strings or numbers")


def _of_timestamps(values: pa.Array) -> NDArray[np.int64]:
    numbers, unit = values.cast(pa.int64()), values.type.unit
    if unit == "ns":  # of a time before 1970, the microsecond that it falls into
        numbers = pa.array(numbers.fill_null(0).to_numpy() // 1000, mask=_null(numbers))
    return _scaled(numbers, _SCALES.get(unit, 1))


def _scaled(numbers: pa.Array, scale: int) -> NDArray[np.int64]:
    """Microseconds of whole numbers, each in a unit of `scale` microseconds."""
    found: NDArray[np.int64] = numbers.fill_null(0).to_numpy()
    found = _bounded(np.clip(found, EARLIEST // scale - 1, LATEST // scale + 1) * scale)
    return np.where(_null(numbers), NO_TIME, found)


def _null(values: pa.Array) -> NDArray[np.bool_]:
    nulls: NDArray[np.bool_] = values.is_null().to_numpy(zero_copy_only=False)
    return nulls


def _bounded(micros: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.clip(micros, EARLIEST - 1, LATEST + 1)


def _of_numbers(values: pa.Array) -> NDArray[np.int64]:
    numbers: NDArray[Any] = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    scale = np.select([np.abs(numbers) < limit for limit, _ in _UNITS], [unit for _, unit in _UNITS], np.nan)
    micros = np.round(numbers * scale)
    readable = np.isfinite(micros) & (np.abs(micros) < _LIMIT)
    return np.where(readable, _bounded(np.where(readable, micros, 0).astype(np.int64)), NO_TIME)


def _of_texts(values: pa.Array) -> NDArray[np.int64]:
    for kind in (_MICROS, pa.timestamp("us")):  # with a zone, without one
        try:
            return _of_timestamps(values.cast(kind))
        except pa.ArrowInvalid:
            continue
    for pattern in (_APACHE, _RFC_2822):
        times = pc.strptime(values, format=pattern, unit="us", error_is_null=True)
        if times.null_count == values.null_count:
            return _of_timestamps(times)
    return np.array([_of_text(text) for text in values.to_pylist()], np.int64)


def _of_text(text: str | None) -> int:
    for parse in (datetime.fromisoformat, _of_apache, parsedate_to_datetime, _of_epoch):
        try:
            time = parse((text or "").strip())
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        if isinstance(time, int):
            return time
        aware = time if time.tzinfo else time.replace(tzinfo=UTC)
        micros = (aware - _EPOCH) // timedelta(microseconds=1)
        return min(max(micros, EARLIEST - 1), LATEST + 1)  # its zone may lead out of them
    return int(NO_TIME)


def _of_apache(text: str) -> datetime:
    """A time of Apache's and nginx's access logs, with or without brackets, a fraction and a zone."""
    day, _, rest = text.removeprefix("[").removesuffix("]").partition(" ")
    pattern = "%d/%b/%Y:%H:%M:%S" + (".%f" if "." in day else "") + (" %z" if rest else "")
    return datetime.strptime(f"{day} {rest}".strip(), pattern)  # noqa: DTZ007 - without a zone it is UTC


def _of_epoch(text: str) -> int:
    """A number since the epoch as text, as CSV has it; fewer digits may be anything."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return int(_of_numbers(pa.array([float(text)]))[0])
