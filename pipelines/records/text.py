"""Values of any Arrow type as text, column by column."""

from collections.abc import Callable
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

__all__ = ["as_text", "json_text"]

_EXACT_INTEGERS = 2.0**53  # up to here a float64 holds every integer
_CONTROLS = [chr(code) for code in range(0x20)]
_SHORT_ESCAPES = {"\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


def as_text(values: pa.Array) -> pa.StringArray | pa.LargeStringArray:
    """Each value as text, null as null; strings are not copied."""
    if (text := _extension_text(values)) is not None:
        return text
    values = _plain(values)
    kind = values.type
    if pt.is_string(kind) or pt.is_large_string(kind):
        return values
    if pt.is_string_view(kind) or pt.is_null(kind):
        return values.cast(pa.string())
    if (
        pt.is_binary(kind)
        or pt.is_large_binary(kind)
        or pt.is_fixed_size_binary(kind)
        or pt.is_binary_view(kind)
    ):
        return _decoded(values)
    return _scalar_text(values) if not _is_nested(kind) else json_text(values)


def json_text(values: pa.Array) -> pa.StringArray:
    """Each value as JSON; a null value stays null, nulls inside it become `null`."""
    if (text := _extension_text(values)) is not None:
        return text if isinstance(values, pa.Bool8Array) else _quoted(text)
    values = _plain(values)
    kind = values.type
    for is_kind, json_of in _NESTED:
        if is_kind(kind):
            return json_of(values)
    text = as_text(values).cast(pa.string())
    if (
        pt.is_null(kind)
        or pt.is_boolean(kind)
        or pt.is_integer(kind)
        or pt.is_floating(kind)
        or pt.is_decimal(kind)
    ):
        return text
    return _quoted(text)


def _extension_text(values: pa.Array) -> pa.Array | None:
    """The text of values whose storage would say something else."""
    if isinstance(values, pa.UuidArray):
        return _uuids(values.storage)
    return pc.not_equal(values.storage, 0).cast(pa.string()) if isinstance(values, pa.Bool8Array) else None


def _uuids(values: pa.Array) -> pa.StringArray:
    """`(n,)` fixed-size binary of 16 bytes as UUIDs."""
    texts = [None if value is None else str(UUID(bytes=value)) for value in values.to_pylist()]
    return pa.array(texts, pa.string())


def _plain(values: pa.Array) -> pa.Array:
    """The values without dictionary, run-end or extension wrapping."""
    if isinstance(values, pa.ExtensionArray):
        return _plain(values.storage)
    if pt.is_dictionary(values.type):
        return _plain(values.dictionary_decode())
    if pt.is_run_end_encoded(values.type):
        return _plain(pc.run_end_decode(values))
    return values


def _is_nested(kind: pa.DataType) -> bool:
    return bool(pt.is_nested(kind))


def _scalar_text(values: pa.Array) -> pa.Array:
    kind = values.type
    if pt.is_floating(kind):
        return _floats(values)
    if pt.is_timestamp(kind):
        text = values.cast(pa.int64()).cast(pa.timestamp(kind.unit)).cast(pa.string())  # in UTC
        text = pc.replace_substring(_whole_seconds(_far(text, values)), " ", "T")
        return text if kind.tz is None else pc.binary_join_element_wise(text, "Z", "")
    if pt.is_date(kind):
        return _far(values.cast(pa.string()), values)
    if pt.is_duration(kind):
        return pa.array([_duration(n, kind.unit) for n in values.cast(pa.int64()).to_pylist()], pa.string())
    if pt.is_interval(kind):
        return pa.array([_interval(value) for value in values.to_pylist()], pa.string())
    text = values.cast(pa.string())
    return _whole_seconds(text) if pt.is_time(kind) else text


def _far(text: pa.Array, values: pa.Array) -> pa.Array:
    """`text` with the dates and times that Arrow does not write: those of years beyond 32767."""
    far = pc.fill_null(pc.starts_with(text, "<"), False)
    if not pc.any(far).as_py():
        return text
    kind = values.type
    unit = kind.unit if pt.is_timestamp(kind) else "D" if pt.is_date32(kind) else "ms"
    numbers = values.filter(far).cast(pa.int32() if pt.is_date32(kind) else pa.int64()).to_numpy()
    written = np.datetime_as_string(numbers.astype(np.int64).astype(f"datetime64[{unit}]"))
    return pc.replace_with_mask(text, far, pa.array(written.tolist(), pa.string()))


_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def _duration(number: int | None, unit: str) -> str | None:
    """A duration in ISO 8601, as in PT1.5S."""
    if number is None:
        return None
    whole, part = divmod(abs(number), 10 ** _DIGITS[unit])
    fraction = f"{part:0{_DIGITS[unit]}d}".rstrip("0") if part else ""
    return f"{'-' if number < 0 else ''}PT{whole}{'.' * bool(fraction)}{fraction}S"


def _interval(value: tuple[int, int, int] | None) -> str | None:
    """Months, days and nanoseconds in ISO 8601, as in P1M2DT3S."""
    if value is None:
        return None
    months, days, nanoseconds = value
    seconds = (_duration(abs(nanoseconds), "ns") or "").removeprefix("PT")
    return f"P{months}M{days}DT{'-' if nanoseconds < 0 else ''}{seconds}"


def _whole_seconds(text: pa.Array) -> pa.Array:
    """Times without a fraction of zeros, as `datetime.isoformat` writes them."""
    return pc.replace_substring_regex(text, r"\.0+$", "")


def _floats(values: pa.Array) -> pa.Array:
    """Floats as in JSON, whole numbers without a fraction; NaN and infinity become null."""
    finite = pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
    wide = finite.cast(pa.float64())
    whole = pc.and_(pc.equal(pc.trunc(wide), wide), pc.less(pc.abs(wide), _EXACT_INTEGERS))
    integers = pc.if_else(whole, wide, pa.scalar(0.0)).cast(pa.int64()).cast(pa.string())
    return pc.if_else(whole, integers, finite.cast(pa.string()))


def _decoded(values: pa.Array) -> pa.Array:
    """Bytes as UTF-8, which they usually are in files without string annotations."""
    values = values.cast(pa.large_binary())
    try:
        return values.cast(pa.large_string())
    except pa.ArrowInvalid:  # rarely: row by row
        texts = [None if value is None else value.decode("utf-8", "replace") for value in values.to_pylist()]
        return pa.array(texts, pa.large_string())


def _quoted(text: pa.Array) -> pa.Array:
    text = pc.replace_substring(pc.replace_substring(text, "\\", "\\\\"), '"', '\\"')
    if pc.any(pc.match_substring_regex(text, r"[\x00-\x1f]")).as_py():
        for char in _CONTROLS:
            text = pc.replace_substring(text, char, _SHORT_ESCAPES.get(char, f"\\u{ord(char):04x}"))
    return pc.binary_join_element_wise('"', text, '"', "")


def _objects(values: pa.StructArray) -> pa.Array:
    """`{"a":1,"b":null}` for each struct."""
    parts: list[str | pa.Array] = []
    for number, field in enumerate(values.type):
        name = _quoted(pa.array([field.name]))[0].as_py()
        child = pc.fill_null(json_text(pc.struct_field(values, [number])), "null")
        parts += [f"{',' if number else '{'}{name}:", child]
    if not parts:
        return pc.if_else(values.is_valid(), "{}", pa.scalar(None, pa.string()))
    objects = pc.binary_join_element_wise(*parts, "}", "")
    return pc.if_else(values.is_valid(), objects, pa.scalar(None, pa.string()))


def _lists(values: pa.Array) -> pa.Array:
    """`[1,2]` for each list."""
    items = pc.fill_null(json_text(pc.list_flatten(values)), "null")
    return _joined(values, items, "[", "]")


def _maps(values: pa.MapArray) -> pa.Array:
    """`{"key":value}` for each map."""
    entries = values.cast(
        pa.list_(pa.struct([("key", values.type.key_type), ("value", values.type.item_type)]))
    )
    pairs = pc.list_flatten(entries)
    keys = _quoted(as_text(pc.struct_field(pairs, [0])).cast(pa.string()))
    items = pc.fill_null(json_text(pc.struct_field(pairs, [1])), "null")
    return _joined(entries, pc.binary_join_element_wise(keys, items, ":"), "{", "}")


def _unions(values: pa.UnionArray) -> pa.Array:
    """The JSON of the one value that each row has, row by row: no kernel takes unions, which are rare."""
    chosen = [scalar.value for scalar in values]
    return pa.array(
        [json_text(pa.repeat(one, 1))[0].as_py() if one.is_valid else None for one in chosen], pa.string()
    )


def _joined(lists: pa.Array, items: pa.Array, opening: str, closing: str) -> pa.Array:
    """Join `items`, the concatenated texts of all lists' items, list by list."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).cast(pa.int64())
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(lengths)]).cast(pa.int32())
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, items), ",")
    texts = pc.binary_join_element_wise(opening, joined, closing, "")
    return pc.if_else(lists.is_valid(), texts, pa.scalar(None, pa.string()))


_NESTED: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.Array]], ...] = (
    (pt.is_struct, _objects),
    (pt.is_map, _maps),
    (pt.is_union, _unions),
    (pt.is_nested, _lists),
)
