"""Shapes of Avro schemas that let a few bytes ask for a lot: records in themselves, arrays of nothing."""

from typing import Any

__all__ = ["holds_itself", "is_unbounded"]

_Names = dict[str, Any]


def holds_itself(schema: Any, names: _Names, above: tuple[str, ...] = ()) -> bool:
    """Whether values of a type can be inside values of the same type, as deep as their bytes say.

    Args:
        schema: as fastavro parses it.
        names: the definitions of named types.
        above: the records that it is in.
    """
    if isinstance(schema, list):
        return any(holds_itself(branch, names, above) for branch in schema)
    if isinstance(schema, str):
        return schema in above or (schema in names and holds_itself(names[schema], names, above))
    if (kind := schema["type"]) in ("record", "error"):
        inside = (*above, schema["name"])
        return schema["name"] in above or any(
            holds_itself(f["type"], names, inside) for f in schema["fields"]
        )
    return kind not in ("enum", "fixed") and holds_itself(_inner(schema), names, above)


def is_unbounded(schema: Any, names: _Names, above: tuple[str, ...] = ()) -> bool:
    """Whether a type has arrays whose items are no bytes, so that any number of them fits a value."""
    if isinstance(schema, list):
        return any(is_unbounded(branch, names, above) for branch in schema)
    if isinstance(schema, str):
        return schema in names and schema not in above and is_unbounded(names[schema], names, above)
    if (kind := schema["type"]) in ("record", "error"):
        inside = (*above, schema["name"])
        return schema["name"] not in above and any(
            is_unbounded(f["type"], names, inside) for f in schema["fields"]
        )
    if kind == "array" and _is_nothing(schema["items"], names, ()):
        return True
    return kind not in ("enum", "fixed") and is_unbounded(_inner(schema), names, above)


def _inner(schema: dict[str, Any]) -> Any:
    """What an array, a map or `{"type": …}` is made of."""
    return schema.get("items", schema.get("values", schema["type"]))


def _is_nothing(schema: Any, names: _Names, above: tuple[str, ...]) -> bool:
    """Whether values of a type are no bytes."""
    if isinstance(schema, list):
        return False  # the branch is a number
    if isinstance(schema, str):
        if schema in names:
            return _is_nothing(names[schema], names, above)
        return schema == "null"
    kind = schema["type"]
    if kind in ("record", "error"):
        inside = (*above, schema["name"])
        return schema["name"] in above or all(_is_nothing(f["type"], names, inside) for f in schema["fields"])
    if kind == "fixed":
        return bool(schema["size"] == 0)
    return kind not in ("array", "map", "enum") and _is_nothing(kind, names, above)
