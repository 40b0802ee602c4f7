"""Readers of Avro's logical types that refuse what fastavro changes in silence.

fastavro rounds decimals to the precision of their schema, takes times below zero for times of the day, and
keeps the last value of a key that appears twice in a map.
The readers here have names of their own, so that other users of fastavro in this process keep its readers.
"""

import datetime as dt
from decimal import Decimal
from operator import itemgetter
from typing import Any

from fastavro.read import LOGICAL_READERS

__all__ = ["CHECKED", "PREFIX", "checked_map"]

PREFIX = "millstream-"
CHECKED = {"decimal": ("bytes", "fixed"), "time-millis": ("int",), "time-micros": ("long",)}
"""Logical types that are checked, and the types that they are of; their names get the prefix."""

_DAY_MICROS = 86_400_000_000
_pair = itemgetter("key", "value")


def _decimal(data: bytes, schema: Any, _: Any = None) -> Decimal:
    digits = str(int.from_bytes(data, "big", signed=True))
    if len(digits.lstrip("-")) > schema["precision"]:
        raise ValueError(
            f"a decimal of {len(digits.lstrip('-'))} digits, and its precision is {schema['precision']}"
        )
    return Decimal(f"{digits}E-{schema.get('scale', 0)}")


def _time(micros: int) -> dt.time:
    if not 0 <= micros < _DAY_MICROS:
        raise ValueError(f"{micros / 1e6:g} s is not a time of day")
    seconds, fraction = divmod(micros, 1_000_000)
    return dt.time(seconds // 3600, seconds // 60 % 60, seconds % 60, fraction)


def checked_map(values: Any, name: str) -> dict[str, Any]:
    """The type of a map whose keys are checked: on the wire it is an array of keys and values.

    Args:
        values: the type of its values.
        name: of its entries, which no other type of the schema has.
    """
    fields = [{"name": "key", "type": "string"}, {"name": "value", "type": values}]
    entry = {"type": "record", "name": name, "fields": fields}
    return {"type": "array", "items": entry, "logicalType": f"{PREFIX}map"}


def _map(entries: list[dict[str, Any]], *_: Any) -> dict[str, Any]:
    made = dict(map(_pair, entries))
    if len(made) < len(entries):
        keys = [entry["key"] for entry in entries]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} appears twice in a map")
    return made


LOGICAL_READERS[f"array-{PREFIX}map"] = _map
LOGICAL_READERS[f"bytes-{PREFIX}decimal"] = _decimal
LOGICAL_READERS[f"fixed-{PREFIX}decimal"] = _decimal
LOGICAL_READERS[f"int-{PREFIX}time-millis"] = lambda millis, *_: _time(millis * 1000)
LOGICAL_READERS[f"long-{PREFIX}time-micros"] = lambda micros, *_: _time(micros)
