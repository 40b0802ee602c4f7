"""How a text file is written: its encoding and line breaks, and the delimiter, quotes and escapes of CSV."""

import re
from dataclasses import dataclass, fields, replace
from typing import Self

from encoder.errors import ConfigurationError
from pipelines.formats.csv_records import CsvRecords
from pipelines.formats.row_boundaries import LINE_FEED, Lines, Rows
from pipelines.records.encodings import UTF8, check_encoding, has_one_byte_each

__all__ = ["GUESSED", "Dialect", "shown_character"]

_NAMES = {"tab": "\t", "\\t": "\t", "space": " ", "none": ""}
_HEXADECIMAL = re.compile(r"\\x([0-7][0-9a-f])", re.IGNORECASE)
_LINE_BREAKS = "\r\n"


@dataclass(frozen=True)
class Dialect:
    """How a text file is written; None for what is guessed from each file.

    Attributes:
        delimiter: the character between the fields of CSV.
        quote: the character around fields of CSV; "" if fields are not quoted.
        escape: the character that makes a quote inside quotes a plain one; "" if such quotes are doubled.
        encoding: as Python names it.
        newline: the byte that ends a row.
    """

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str | None = None
    newline: int | None = None

    @classmethod
    def parse(
        cls,
        delimiter: str | None = None,
        quote: str | None = None,
        escape: str | None = None,
        encoding: str | None = None,
    ) -> Self:
        r"""Parse what a user wrote: a character, `tab`, `\t`, `\x01`, or `none` for no quote or escape.

        Raises:
            ConfigurationError: one of them is not a character of ASCII, two are the same, or the encoding is
                unknown.
        """
        found = cls(
            _character("delimiter", delimiter),
            _character("quote", quote),
            _character("escape", escape),
            None if encoding is None else check_encoding(encoding),
        )
        if found.delimiter == "":
            raise ConfigurationError("`delimiter` cannot be none: use one character, as ';' or tab")
        if found.delimiter and found.delimiter in (found.quote, found.escape):
            raise ConfigurationError(f"`delimiter` {delimiter!r} is the `quote` or `escape` too: change one")
        if found.escape and found.escape == (found.quote or '"'):
            return replace(found, escape="")  # a doubled quote
        return found

    @property
    def is_known(self) -> bool:
        """Whether nothing is left to guess."""
        return all(getattr(self, field.name) is not None for field in fields(self))

    @property
    def is_divisible(self) -> bool:
        """Whether rows can be found in the bytes of the file, which then can be divided."""
        return self.encoding == UTF8 or has_one_byte_each(self.encoding or UTF8)

    def rows(self, *, csv: bool) -> Rows:
        """Finds the rows of such a file, in UTF-8."""
        newline = LINE_FEED if self.newline is None else self.newline
        if not csv:
            return Lines(newline)
        quote = '"' if self.quote is None else self.quote
        return CsvRecords(self.delimiter or ",", quote, self.escape or "", newline)


GUESSED = Dialect()
"""Everything is guessed from the file."""


def shown_character(character: str) -> str:
    """A character as a user writes it on the command line."""
    names = {"\t": "tab", " ": "space", "": "none"}
    return names.get(character) or (
        f"'{character}'" if character.isprintable() else f"'\\x{ord(character):02x}'"
    )


def _character(option: str, text: str | None) -> str | None:
    if text is None:
        return None
    found = _NAMES.get(text.lower(), text)
    if code := _HEXADECIMAL.fullmatch(found):
        found = chr(int(code[1], 16))
    if len(found) > 1 or not found.isascii() or found in tuple(_LINE_BREAKS):
        raise ConfigurationError(
            f"cannot use `{option}` {text!r}: write one character of ASCII, tab, \\x01 or, for none, none"
        )
    return found
