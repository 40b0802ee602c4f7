"""Numbers in JSON that a double does not hold, such as 1234567890123456789 or 0.12345678901234567890.

Parsers round them in silence. A double holds a number if it becomes the same number again when it is written
with as many digits: all numbers of up to 15 digits do, and all that programs write from doubles.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from numpy.typing import NDArray

from encoder.kernels.json_lines import scan_lines

__all__ = [
    "Scan",
    "fits_double",
    "has_floats",
    "inner_types",
    "large_numbers",
    "long_numbers",
    "not_finite",
    "rounded",
    "scan",
]

_WHOLE = 2.0**53  # up to here a double holds every whole number
_BEYOND_FLOAT32 = 2**128 - 2**103  # rounds to infinity, as everything above it
_SHOWN = 60  # characters of a number in a reason
_WINDOW = 24  # bytes before and behind a point or an exponent that are looked at

_CHUNK = 1 << 18


def _table(characters: bytes) -> NDArray[np.bool_]:
    """`(256,)` bool: whether a byte is one of them."""
    table = np.zeros(256, bool)
    table[list(characters)] = True
    return table


_NUMBER, _FRACTION = _table(b"0123456789+-.eE"), _table(b".eE")
_BEGINS, _ENDS = _table(b":[, \t\r\n"), _table(b",]} \t\r\n")
_POINT, _MINUS, _EXPONENT = map(np.uint8, b".-e")
_LOWER = np.uint8(32)
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class Scan(NamedTuple):
    """What stands in lines of JSON.

    Attributes:
        n_keys: how many colons follow a quote or a space: as many as there are keys, and some inside texts.
        n_breaks: how many line feeds there are.
        n_between: how many of them are between `}` and `{`.
        has_long: whether `long_numbers` may find some.
    """

    n_keys: int
    n_breaks: int
    n_between: int
    has_long: bool


def scan(data: pa.Buffer | bytes) -> Scan:
    """Look at lines of JSON once, as fast as memory."""
    return Scan(*scan_lines(np.frombuffer(data, np.uint8)))


def fits_double(number: int | Decimal) -> bool:
    """Whether a double holds a number with all its digits."""
    try:
        near = float(number)
    except OverflowError:
        return False
    if isinstance(number, int):
        return int(near) == number
    if near in (np.inf, -np.inf):
        return False
    return Decimal(f"{near:.{len(number.as_tuple().digits) - 1}e}") == number


def has_floats(kinds: Iterable[pa.DataType]) -> bool:
    """Whether there are floats in columns of these types."""
    return any(pt.is_floating(kind) or has_floats(inner_types(kind)) for kind in kinds)


def inner_types(kind: pa.DataType) -> list[pa.DataType]:
    """The types inside a nested one."""
    return [kind.field(i).type for i in range(kind.num_fields)] if pt.is_nested(kind) else []


def large_numbers(values: pa.Array) -> NDArray[np.int64]:
    """The rows with floats so large that a double does not hold every whole number of this size.

    Infinity is one of them: JSON does not have it, so it stood for a number that a float32 does not hold.
    """
    return _rows(values, lambda numbers: np.abs(numbers) >= _WHOLE)


def not_finite(values: pa.Array) -> NDArray[np.int64]:
    """The rows with NaN or infinity, which JSON does not have."""
    return _rows(values, lambda numbers: ~np.isfinite(numbers))


def _rows(values: pa.Array, wanted: Callable[[NDArray[Any]], NDArray[np.bool_]]) -> NDArray[np.int64]:
    """The rows with a wanted float at any depth."""
    kind = values.type
    if pt.is_floating(kind):
        filled = pc.fill_null(values, 0) if values.null_count else values
        return np.flatnonzero(wanted(filled.to_numpy(zero_copy_only=False)))
    if pt.is_struct(kind):
        found = [_rows(child, wanted) for child in values.flatten() if has_floats([child.type])]
        return np.unique(np.concatenate([np.empty(0, np.int64), *found]))
    if pt.is_map(kind):
        return _rows(values.cast(pa.list_(pa.struct([kind.key_field, kind.item_field]))), wanted)
    if pt.is_nested(kind) and has_floats([kind]):
        rows = pc.list_parent_indices(values).to_numpy()
        return np.unique(rows[_rows(pc.list_flatten(values), wanted)])
    return np.empty(0, np.int64)


def long_numbers(data: pa.Buffer | bytes) -> NDArray[np.int64]:
    """Where JSON has numbers with a point or an exponent that a double may not hold; some more are found.

    Whole numbers without an exponent are not looked for, and neither are numbers beyond a double's range.
    """
    if not scan(data).has_long:
        return np.empty(0, np.int64)
    text = np.frombuffer(data, np.uint8)
    places = np.union1d(_runs(text), _tiny(text))
    return places[~_survives(data, places)] if places.size else places


def _runs(text: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where 16 digits and points or more follow each other: such a run covers two places that 8 divides."""
    steps = _in_number(text[::8])
    places = np.flatnonzero(steps[:-1] & steps[1:]) * 8
    for between in (4, 2, 6, 3, 5, 1, 7):
        if not places.size:
            return places
        places = places[_there(text, places + between)]
    there = {offset: _there(text, places + offset) for offset in (-6, -4, -2, 10, 12, 14)}
    left, right = there[-4] & (there[-6] | there[10]), there[12] & (there[-2] | there[14])
    return places[left | right]


def _in_number(text: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return text - _POINT < 12  # digits, the point, and the slash; smaller characters wrap around


def _there(text: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.bool_]:
    return _in_number(text.take(places, mode="clip"))


def _tiny(text: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where exponents below -99 are."""
    parts = [np.empty(0, np.int64)]
    for start in range(0, len(text) - 1, _CHUNK):
        before_minus = np.flatnonzero(text[start + 1 : start + _CHUNK + 1] == _MINUS) + start
        parts.append(before_minus[text[before_minus] | _LOWER == _EXPONENT])
    places = np.concatenate(parts)
    for offset in (-1, 2, 3, 4):
        places = places[_there(text, places + offset)]
    return places


def _survives(data: pa.Buffer | bytes, places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which places are in numbers that Arrow reads and writes with the same digits, or in no such numbers."""
    text = np.frombuffer(data, np.uint8)
    survives = np.zeros(len(places), bool)
    if len(text) < 2 * _WINDOW:
        return survives
    inner = np.flatnonzero((places >= _WINDOW) & (places < len(text) - _WINDOW))
    around = np.lib.stride_tricks.sliding_window_view(text, 2 * _WINDOW)[places[inner] - _WINDOW]
    inside = _NUMBER[around]
    inside[:, 0] = inside[:, -1] = False
    before = np.argmin(inside[:, _WINDOW - 1 :: -1], axis=1)
    behind = np.argmin(inside[:, _WINDOW:], axis=1)
    rows, columns = np.arange(len(inner)), np.arange(2 * _WINDOW)
    token = (columns >= _WINDOW - before[:, None]) & (columns < _WINDOW + behind[:, None])
    exact = ~(_FRACTION[around] & token).any(axis=1)
    exact |= ~_BEGINS[around[rows, _WINDOW - 1 - before]] | ~_ENDS[around[rows, _WINDOW + behind]]
    whole = (before < _WINDOW - 1) & (behind < _WINDOW - 1)
    survives[inner[whole & exact]] = True
    asked = whole & ~exact
    inner, before, behind = inner[asked], before[asked], behind[asked]
    starts, first, back = np.unique(places[inner] - before, return_index=True, return_inverse=True)
    survives[inner] = _same_again(data, starts, (places[inner] + behind)[first])[back]
    return survives


def _same_again(
    data: pa.Buffer | bytes, starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which slices of the data Arrow reads as doubles and writes again with the same characters."""
    if not len(starts):
        return np.zeros(0, bool)
    offsets = pa.py_buffer(np.stack([starts, stops], axis=1).ravel())
    slices = pa.LargeStringArray.from_buffers(2 * len(starts) - 1, offsets, pa.py_buffer(data))
    numbers = slices.take(pa.array(np.arange(0, 2 * len(starts) - 1, 2)))
    try:
        again = numbers.cast(pa.float64()).cast(pa.large_string())
    except pa.ArrowInvalid:  # some are no numbers
        return np.zeros(len(starts), bool)
    same: NDArray[np.bool_] = pc.equal(numbers, again).to_numpy(zero_copy_only=False)
    return same


def rounded(line: bytes, fields: Iterable[pa.Field]) -> str | None:
    """Which field of a JSON object has a number that its column does not hold, or None."""
    try:
        record = _decode(line)
    except (msgspec.MsgspecError, RecursionError):
        return None
    for field in fields:
        if (number := _first(record.get(field.name), field.type)) is not None:
            found = str(number)
            shown = found[:_SHOWN] + "…" * (len(found) > _SHOWN)
            why = "is beyond float32" if fits_double(number) else "has more digits than a double holds"
            return f"field {field.name!r}: {shown} {why}"
    return None


def _first(value: Any, kind: pa.DataType) -> int | Decimal | None:
    """The first number in a value that its type does not hold."""
    if isinstance(value, (int, Decimal)):
        fits = not pt.is_float32(kind) or -_BEYOND_FLOAT32 < value < _BEYOND_FLOAT32
        held = fits and fits_double(value)
        return value if pt.is_floating(kind) and not held else None
    if isinstance(value, dict) and pt.is_struct(kind):
        pairs = [(value.get(field.name), field.type) for field in kind]
    elif isinstance(value, list) and hasattr(kind, "value_type"):
        pairs = [(item, kind.value_type) for item in value]
    else:
        return None
    return next((found for item, inner in pairs if (found := _first(item, inner)) is not None), None)
