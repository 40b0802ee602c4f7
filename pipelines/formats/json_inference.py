"""The columns of JSON lines, inferred from a sample of values.

A column has the type that holds the most of the values exactly, the narrowest of those that hold as many.
Records with other values become dead letters.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from pipelines.formats.json_numbers import fits_double

__all__ = ["Seen", "fields_of"]

_KINDS: dict[type, str] = {
    bool: "bool", int: "number", float: "number", str: "string", list: "list", dict: "object"
}  # fmt: skip
_PREFERENCE = ("string", "number", "object", "list", "bool")  # between kinds that are equally frequent
_NUMBERS: tuple[tuple[pa.DataType, Callable[[int], bool]], ...] = (
    (pa.int64(), lambda number: -(2**63) <= number < 2**63),
    (pa.uint64(), lambda number: 0 <= number < 2**64),
    (pa.decimal128(38, 0), lambda number: abs(number) < 10**38),
    (pa.float64(), fits_double),
)


class Seen:
    """The values seen of one field.

    Attributes:
        fields: the values seen of the fields of objects, in order of appearance.
    """

    def __init__(self) -> None:
        self.fields: dict[str, Seen] = {}
        self._items: Seen | None = None
        self._kinds: Counter[str] = Counter()
        self._whole: Counter[int] = Counter()
        self._fractions = 0

    def add(self, value: Any) -> None:
        """Add a value decoded from JSON."""
        if value is None:
            return
        self._kinds[_KINDS[type(value)]] += 1
        if type(value) is int:
            self._whole[value] += 1
        elif type(value) is float:
            self._fractions += 1
        elif type(value) is list:
            self._items = self._items or Seen()
            for item in value:
                self._items.add(item)
        elif type(value) is dict:
            self.add_object(value)

    def add_object(self, record: Mapping[str, Any]) -> None:
        """Add the fields of an object."""
        for name, value in record.items():
            if name not in self.fields:
                self.fields[name] = Seen()
            self.fields[name].add(value)

    def type(self) -> pa.DataType | None:
        """The type of most values: string if all are null, None if all are objects without fields."""
        if not self._kinds:
            return pa.string()
        kind = max(_PREFERENCE, key=lambda kind: self._kinds[kind])  # the first of equals
        if kind == "number":
            return self._number()
        if kind == "list":
            items = (self._items or Seen()).type()
            return None if items is None else pa.list_(items)
        if kind == "object":
            fields = fields_of(self)
            return pa.struct(fields) if fields else None
        return pa.string() if kind == "string" else pa.bool_()

    def _number(self) -> pa.DataType:
        """The type that holds the most numbers."""
        held = {
            kind: sum(n for number, n in self._whole.items() if holds(number)) for kind, holds in _NUMBERS
        }
        held[pa.float64()] += self._fractions
        return max(held, key=lambda kind: held[kind])  # the first of equals


def fields_of(seen: Seen) -> list[pa.Field]:
    """The fields of the objects seen, without those that are always empty objects."""
    types = ((name, field.type()) for name, field in seen.fields.items())
    return [pa.field(name, kind) for name, kind in types if kind is not None]
