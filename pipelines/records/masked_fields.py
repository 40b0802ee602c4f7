"""Masks on the fields of records: what they match leaves neither with a record nor with a dead letter.

A dead letter holds the bytes of a whole record, which could not be read perhaps. So all of it is masked as
text, and so is the reason, which may quote it. Keys and headers of messages stay as they are.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.types as pt

from encoder.errors import ConfigurationError
from encoder.masks import Masks
from pipelines.records.bad_rows import BadRow, DeadLetter
from pipelines.records.fields import field_path, field_type

__all__ = ["MaskedFields"]

_ESCAPED = re.compile(rb"\\u00(2[b-f]|2[05]|3[0-9a]|4[0-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9a])|\\/", re.IGNORECASE)
"""The escapes in JSON of characters that masks look at: a letter, a digit, a space or one of `%+,-./:@_`."""


class _Leaf(NamedTuple):
    """A value in a record: `holder[place]`, and its text."""

    holder: Any
    place: Any
    text: str


@dataclass(frozen=True)
class MaskedFields:
    """The fields to mask, and the masks.

    Attributes:
        names: dotted names of the fields.
        masks: the masks; there is at least one.
    """

    names: tuple[str, ...]
    masks: Masks

    def check(self, schema: pa.Schema) -> None:
        """Check that the fields that a schema has can be masked.

        Raises:
            ConfigurationError: there is no such field, or it holds no text.
        """
        for name in self.names:
            path = field_path(schema, name)
            if path is None:
                raise ConfigurationError(
                    f"--mask-fields names {name!r}, which is not a kept field: there are "
                    f"{', '.join(schema.names)}"
                )
            if not _holds_text(kind := field_type(schema, path)):
                raise ConfigurationError(
                    f"--mask-fields names {name!r}, which holds {kind}: a mask needs text; leave the field "
                    "out, or read it as string"
                )

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch with these fields masked; those that it does not have are no matter."""
        for name in self.names:
            if (path := field_path(batch.schema, name)) is not None:
                at = batch.schema.get_field_index(path[0])
                column = self._column(batch.column(at), path[1:])
                batch = batch.set_column(at, batch.schema.field(at), column)
        return batch

    def _column(self, values: pa.Array, path: Sequence[str]) -> pa.Array:
        """A column with the texts at `path`, or all of its texts, masked."""
        kind = values.type
        if pt.is_struct(kind):
            inner = [
                self._column(child, path[1:]) if not path or path[0] == field.name else child
                for field, child in zip(kind, _children(values), strict=True)
            ]
            return pa.StructArray.from_arrays(inner, fields=list(kind), mask=values.is_null())
        if pt.is_list(kind) or pt.is_large_list(kind):
            if values.offset:  # Arrow builds no null lists from a part of offsets
                values = values.take(pa.array(range(len(values)), pa.int64()))
            items = self._column(values.values, ())
            mask = values.is_null() if values.null_count else None
            return type(values).from_arrays(values.offsets, items, type=kind, mask=mask)
        return self.masks.thoroughly(values).cast(kind) if _is_text(kind) else values

    def records(self, records: Sequence[dict[str, Any]]) -> None:
        """Mask these fields of records in place; a number that matches becomes text."""
        leaves = [leaf for record in records for name in self.names for leaf in _field(record, name)]
        if leaves:
            found = self.masks.thoroughly([leaf.text for leaf in leaves]).to_pylist()
            for leaf, text in zip(leaves, found, strict=True):
                if text != leaf.text:
                    leaf.holder[leaf.place] = text

    def value(self, value: bytes | None) -> bytes | None:
        """The bytes of a record, masked as text."""
        if value is None:
            return None
        plain = _ESCAPED.sub(_plain, value)
        offsets: pa.Buffer = pa.array([0, len(plain)], pa.int64()).buffers()[1]
        text = pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(plain)])
        masked: bytes = self.masks.thoroughly(text).cast(pa.large_binary())[0].as_py()
        return masked if masked != plain else value

    def bad_row(self, bad: BadRow) -> BadRow:
        """A bad row with its record and its reason masked."""
        return replace(bad, record=self.value(bad.record), reason=self._text(bad.reason))

    def letter(self, letter: DeadLetter) -> DeadLetter:
        """A dead letter with its reason masked."""
        return letter._replace(reason=self._text(letter.reason))

    def _text(self, text: str) -> str:
        masked: str = self.masks.thoroughly([text.encode(errors="replace").decode()])[0].as_py()
        return masked


def _plain(escape: re.Match[bytes]) -> bytes:
    return b"/" if escape[1] is None else bytes([int(escape[1], 16)])


def _is_text(kind: pa.DataType) -> bool:
    if pt.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def _holds_text(kind: pa.DataType) -> bool:
    """Whether all values of a type are texts, or lists or structs of texts."""
    if pt.is_struct(kind):
        return all(_holds_text(field.type) for field in kind)
    if pt.is_list(kind) or pt.is_large_list(kind):
        return _holds_text(kind.value_type)
    return _is_text(kind) or bool(pt.is_null(kind))


def _children(values: pa.StructArray) -> list[pa.Array]:
    return [values.field(k) for k in range(values.type.num_fields)]


def _field(record: dict[str, Any], name: str) -> Iterator[_Leaf]:
    """The values of the field `name` of a record, as `field_path` finds it."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        head, rest = ".".join(parts[:length]), ".".join(parts[length:])
        if head in record:
            if not rest:
                yield from _leaves(record, head)
                return
            if isinstance(record[head], dict):
                yield from _field(record[head], rest)
                return


def _leaves(holder: Any, place: Any) -> Iterator[_Leaf]:
    value = holder[place]
    if isinstance(value, Mapping):
        for key in value:
            yield from _leaves(value, key)
    elif isinstance(value, list):
        for k in range(len(value)):
            yield from _leaves(value, k)
    elif isinstance(value, msgspec.Raw | bytes):
        yield _Leaf(holder, place, bytes(value).decode("utf-8", "replace"))
    elif value is not None and not isinstance(value, bool):
        yield _Leaf(holder, place, value if isinstance(value, str) else str(value))
