"""The columns of JSON lines, inferred from a sample of values."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

__all__ = ["Seen", "fields_of"]

_KINDS: dict[type, str] = {
    bool: "bool", int: "number", float: "number", str: "string", list: "list", dict: "object"
}  # fmt: skip
_PREFERENCE = ("string", "number", "object", "list", "bool")  # between kinds that are equally frequent
_INT64, _UINT64 = 2**63, 2**64


class Seen:
    """The values seen of one field.

    Attributes:
        fields: the values seen of the fields of objects, in order of appearance.
    """

    def __init__(self) -> None:
        self.fields: dict[str, Seen] = {}
        self._items: Seen | None = None
        self._kinds: Counter[str] = Counter()
        self._fractions = False
        self._low = self._high = 0

    def add(self, value: Any) -> None:
        """Add a value decoded from JSON."""
        if value is None:
            return
        self._kinds[_KINDS[type(value)]] += 1
        if type(value) is int:
            self._low, self._high = min(self._low, value), max(self._high, value)
        elif type(value) is float:
            self._fractions = True
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
        if not self._fractions and self._low >= -_INT64 and self._high < _INT64:
            return pa.int64()
        return (
            pa.uint64() if not self._fractions and self._low == 0 and self._high < _UINT64 else pa.float64()
        )


def fields_of(seen: Seen) -> list[pa.Field]:
    """The fields of the objects seen, without those that are always empty objects."""
    types = ((name, field.type()) for name, field in seen.fields.items())
    return [pa.field(name, kind) for name, kind in types if kind is not None]
