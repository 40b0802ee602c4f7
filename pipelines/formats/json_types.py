"""Arrow's types as msgspec's: a fast look at whether a JSON record fits a schema, and where it does not."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.types as pt

__all__ = ["kind_of", "misfit", "struct_of"]

_SHOWN = 60  # characters of a value in a reason
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
_HINTS = (
    (pt.is_boolean, bool),
    (pt.is_integer, int),
    (pt.is_floating, float),
    (pt.is_string, str),
    (pt.is_large_string, str),
)


def struct_of(fields: Iterable[pa.Field], name: str = "Row") -> type[msgspec.Struct]:
    """A msgspec type that takes about what pyarrow takes: a fast hint at the lines to look at."""
    fields = list(fields)
    names = [f"f{i}" for i in range(len(fields))]
    return msgspec.defstruct(
        name,
        [(python, _hint(field.type) | None, None) for python, field in zip(names, fields, strict=True)],
        rename=dict(zip(names, (field.name for field in fields), strict=True)),
    )


def _hint(kind: pa.DataType) -> Any:
    for is_kind, hint in _HINTS:
        if is_kind(kind):
            return hint
    if pt.is_list(kind):
        return list[_hint(kind.value_type) | None]  # type: ignore[misc] # a type made at run time
    return struct_of(kind) if pt.is_struct(kind) else msgspec.Raw


def misfit(record: dict[str, Any], fields: Iterable[pa.Field], prefix: str = "") -> str | None:
    """Which field of `record` surely does not fit its type, or None."""
    for field in fields:
        value, name = record.get(field.name), prefix + field.name
        if isinstance(value, dict) and pt.is_struct(field.type):
            if reason := misfit(value, field.type, f"{name}."):
                return reason
        elif value is not None and not _fits(value, field.type):
            expected = "a list" if pt.is_list(field.type) else _KINDS.get(_hint(field.type), "an object")
            found = msgspec.json.encode(value).decode()
            return f"field {name!r}: expected {expected}, found {found[:_SHOWN]}{'…' * (len(found) > _SHOWN)}"
    return None


def _fits(value: Any, kind: pa.DataType) -> bool:
    hint = _hint(kind)
    if hint is msgspec.Raw:
        return True  # left to pyarrow
    try:
        msgspec.convert(value, hint, strict=True)
    except msgspec.ValidationError:
        return False
    return hint is not int or (isinstance(value, int) and _in_range(value, kind))


def _in_range(value: int, kind: pa.DataType) -> bool:
    try:
        pa.scalar(value, kind)
    except (pa.ArrowInvalid, OverflowError):
        return False
    return True


def kind_of(value: Any) -> str:
    """What a value of JSON is, in words."""
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else _KINDS[type(value)]
