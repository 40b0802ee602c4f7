"""Values of any Arrow type as text, column by column."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

__all__ = ["as_text", "json_text"]

_EXACT_INTEGERS = 2.0**53  # up to here a float64 holds every integer
_CONTROLS = [chr(code) for code in range(0x20)]
_SHORT_ESCAPES = {"\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


def as_text(values: pa.Array) -> pa.StringArray | pa.LargeStringArray:
    """Each value as text, null as null; strings are not copied."""
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
    values = _plain(values)
    kind = values.type
    if pt.is_struct(kind):
        return _objects(values)
    if pt.is_map(kind):
        return _maps(values)
    if _is_nested(kind):
        return _lists(values)
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
        text = pc.replace_substring(_whole_seconds(text), " ", "T")
        return text if kind.tz is None else pc.binary_join_element_wise(text, "Z", "")
    if pt.is_time(kind):
        return _whole_seconds(values.cast(pa.string()))
    return values.cast(pa.string())


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


def _joined(lists: pa.Array, items: pa.Array, opening: str, closing: str) -> pa.Array:
    """Join `items`, the concatenated texts of all lists' items, list by list."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).cast(pa.int64())
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(lengths)]).cast(pa.int32())
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, items), ",")
    texts = pc.binary_join_element_wise(opening, joined, closing, "")
    return pc.if_else(lists.is_valid(), texts, pa.scalar(None, pa.string()))
