"""JSON objects that decoders change in silence: keys appear twice, or a double does not hold a number."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

import msgspec
import numpy as np

from pipelines.formats.json_numbers import Scan, fits_double, long_numbers, scan
from pipelines.records.bad_rows import one_line

__all__ = ["JsonValues", "careful_decode", "not_json"]

_OPEN, _CLOSE = b"{", b"}"
_HIDDEN = tuple(rb"\u00" + code for code in (b"20", b"21", b"22", b"3a", b"3A"))
"""Escapes that hide what `Scan.n_keys` counts."""

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True)
class JsonValues:
    """Values of JSON, looked at together.

    Attributes:
        values: `(n,)` values.
        data: the same, joined by line feeds.
        scan: what stands there.
    """

    values: Sequence[bytes]
    data: bytes
    scan: Scan

    @classmethod
    def of(cls, values: Sequence[bytes]) -> Self:
        """Join values and look at them.

        Raises:
            TypeError: one of them is None.
        """
        data = b"\n".join(values)
        return cls(values, data, scan(data))

    def decode(self) -> list[dict[str, Any]]:
        """Decode the values; more objects than there are values if one of them has several.

        If each value begins with `{` and ends with `}`, and there are no line feeds inside, then no object
        spans two values: its line feed would be between `}` and `{`, where JSON needs a comma. So all of them
        can be decoded at once, and as many objects as values means one object each.

        Raises:
            MsgspecError: a value is no object, or no JSON.
            UnicodeDecodeError: one is not UTF-8.
            RecursionError: one is nested too deep.
        """
        between = len(self.values) - 1
        are_lines = self.scan.n_breaks == self.scan.n_between == between
        if are_lines and self.data.startswith(_OPEN) and self.data.endswith(_CLOSE):
            return _decoder.decode_lines(self.data)
        return list(map(_decoder.decode, self.values))

    def suspicious(self, records: Sequence[dict[str, Any]]) -> list[int]:
        """The positions of values that may not be what they were decoded as; more than there are."""
        values, found = self.values, set[int]()
        if self.scan.has_long and len(places := long_numbers(self.data)):
            ends = np.cumsum(np.fromiter(map(len, values), np.int64, len(values)) + 1)
            found.update(np.searchsorted(ends, places, side="right").tolist())
        if self.scan.n_keys != _n_decoded(records):
            hidden = b"\\u00" in self.data and any(escape in self.data for escape in _HIDDEN)
            if hidden or self.scan.n_keys != _n_keys(_encode(records)):
                pairs = enumerate(zip(values, records, strict=True))
                found |= {i for i, (value, record) in pairs if _n_keys(value) != _n_keys(_encode(record))}
                found |= {i for i, value in enumerate(values) if any(escape in value for escape in _HIDDEN)}
        return sorted(found)


def _n_keys(data: bytes) -> int:
    return scan(data).n_keys


def _n_decoded(objects: Sequence[dict[str, Any]]) -> int:
    """How many keys objects have, with those inside of fields that hold an object in the first one.

    Never more than there are: if as many stand in the data, no key was lost.
    """
    n_keys = sum(map(len, objects))
    for name in [name for name, value in objects[0].items() if type(value) is dict] if objects else ():
        inner = [value for one in objects if type(value := one.get(name)) is dict]
        n_keys += _n_decoded(inner)
    return n_keys


def not_json(record: dict[str, Any], fields: Sequence[str] | None = None) -> str | None:
    """Which field of a record JSON does not have, or None.

    Args:
        record: from another format.
        fields: those to look at, or None for all.
    """
    for name in record if fields is None else fields:
        if (number := _not_finite(record.get(name))) is not None:
            return (
                f"field {name!r} is {number}, which JSON does not have: leave it out or write another format"
            )
    return None


def _not_finite(value: Any) -> float | None:
    if type(value) is float:
        return None if math.isfinite(value) else value
    if type(value) is dict:
        value = list(value.values())
    if type(value) is not list:
        return None
    return next((found for one in value if (found := _not_finite(one)) is not None), None)


def careful_decode(value: bytes, *, as_written: bool) -> dict[str, Any] | str:
    """Decode an object that is JSON.

    Args:
        value: the object.
        as_written: what to do with a number that a double does not hold: keep it as `msgspec.Raw`, which only
            JSON can hold, or refuse the object.

    Returns:
        The object, or what is wrong with it.
    """
    try:
        json.loads(value, object_pairs_hook=_once)
        record: dict[str, Any] = _DECODERS[as_written].decode(value)
    except _Changed as error:
        return str(error)
    except (msgspec.MsgspecError, RecursionError) as error:
        return f"not JSON: {one_line(error)}"
    return record


class _Changed(Exception):
    """A value would not be what it was."""


def _once(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _Changed(f"field {twice!r} appears twice")


def _number(text: str) -> float | msgspec.Raw:
    return float(text) if fits_double(Decimal(text)) else msgspec.Raw(text.encode())


def _double(text: str) -> float:
    if not fits_double(Decimal(text)):
        raise _Changed(f"the number {text} has more digits than a double holds")
    return float(text)


_DECODERS = tuple(msgspec.json.Decoder(dict[str, Any], float_hook=hook) for hook in (_double, _number))
