"""Text templates: the text of a record that is embedded.

message                          a column
user.name                        a field inside a struct column
{merchant} in {city}: {reason}   fields and literal text; {{ and }} are braces
"""

import re
from dataclasses import dataclass
from functools import reduce
from itertools import zip_longest

import pyarrow as pa
import pyarrow.compute as pc

from encoder.errors import TemplateError
from pipelines.records.fields import field_at, field_path
from pipelines.records.text import as_text

__all__ = ["TextTemplate"]

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")


@dataclass(frozen=True)
class TextTemplate:
    """A parsed template.

    Attributes:
        source: the text that was parsed.
        literals: the text before, between and after the fields, one more than there are fields.
        slots: the dotted names of the fields, in the template's order, with repetitions.
    """

    source: str
    literals: tuple[str, ...]
    slots: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "TextTemplate":
        """Parse a template.

        Raises:
            TemplateError: it is empty, names no field, or has an unmatched brace.
        """
        if not text.strip():
            raise TemplateError(
                "the text template is empty: name a column, as in message, or write '{a}: {b}'"
            )
        if "{" not in text and "}" not in text:
            return cls(text, ("", ""), (text,))
        literals, slots = [""], []
        for token in _TOKEN.finditer(text):
            if token[1] is not None:
                if not token[1].strip():
                    raise TemplateError(_at(text, token, "'{}' names no field: write a column's name in it"))
                slots.append(token[1])
                literals.append("")
            elif token[0] in ("{", "}"):
                close = "close it with '}', or " if token[0] == "{" else ""
                what = f"unmatched {token[0]!r}: {close}write {token[0] * 2} for a brace in the text"
                raise TemplateError(_at(text, token, what))
            else:
                literals[-1] += token[0][:1] if token[0] in ("{{", "}}") else token[0]
        if not slots:
            raise TemplateError(
                f"the text template {text!r} names no field: write one in braces, as in {{message}}"
            )
        return cls(text, tuple(literals), tuple(slots))

    @property
    def fields(self) -> tuple[str, ...]:
        """The dotted names of the fields, each once, in order of use."""
        return tuple(dict.fromkeys(self.slots))

    @property
    def columns(self) -> tuple[str, ...]:
        """The top-level columns: the part of each field before the first dot.

        Only a schema shows which columns have dots in their names; use `field_path` with one.
        """
        return tuple(dict.fromkeys(name.split(".", 1)[0] for name in self.slots))

    def apply(self, batch: pa.RecordBatch) -> pa.StringArray | pa.LargeStringArray:
        """The text of each row.

        Missing and null fields are empty; numbers, booleans, lists and structs become JSON, times ISO 8601.

        Returns:
            `(n_rows,)` string or large_string: null where every field of the row is null. The text of one
            string column alone is that column, not a copy.
        """
        if self.literals == ("", "") and len(self.slots) == 1:
            return self._field(batch, self.slots[0])
        texts = {name: self._field(batch, name) for name in self.fields}
        kind = (
            pa.large_string() if pa.large_string() in [text.type for text in texts.values()] else pa.string()
        )
        texts = {name: text if text.type == kind else text.cast(kind) for name, text in texts.items()}
        literals = [pa.scalar(literal, kind) if literal else None for literal in self.literals]
        fields = [texts[name] for name in self.slots]
        parts = [part for pair in zip_longest(literals, fields) for part in pair if part is not None]
        joined = pc.binary_join_element_wise(
            *parts, pa.scalar("", kind), null_handling="replace", null_replacement=""
        )
        if not all(text.null_count for text in texts.values()):
            return joined  # no row is null everywhere
        empty = pc.is_null(next(iter(texts.values())))
        for text in texts.values():
            empty = pc.and_(empty, pc.is_null(text))
        return pc.if_else(empty, pa.scalar(None, kind), joined)

    def null_rows(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """`(n_rows,)` bool, where every field of a row is null, so that `apply` gives no text."""
        paths = (field_path(batch.schema, name) for name in self.fields)
        nulls = [field_at(batch, path).is_null() for path in paths if path is not None]
        return reduce(pc.and_, nulls, pa.repeat(True, batch.num_rows))

    @staticmethod
    def _field(batch: pa.RecordBatch, name: str) -> pa.Array:
        path = field_path(batch.schema, name)
        return pa.nulls(batch.num_rows, pa.string()) if path is None else as_text(field_at(batch, path))


def _at(text: str, token: re.Match[str], what: str) -> str:
    return f"the text template {text!r}, character {token.start() + 1}: {what}"
