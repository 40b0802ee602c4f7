"""Guess how a file is written from its beginning: line breaks; delimiter, quotes and escapes of CSV."""

from dataclasses import replace
from typing import NamedTuple, Self

from pipelines.formats.csv_records import Grammar
from pipelines.formats.dialect import Dialect
from pipelines.formats.row_boundaries import LINE_FEED, RETURN, blocks

__all__ = ["guess_csv", "guess_newline"]

_DELIMITERS = (",", ";", "\t", "|")  # what is tried where the usual one does not fit
_FIRST_BYTES, _FIRST_ROWS = 128 << 10, 500
_FEW, _MOST = 0.5, 0.9  # shares of rows with as many fields as the header


def guess_newline(head: bytes) -> int:
    """The byte that ends rows: a carriage return if `head` has some and no line feed."""
    return RETURN if b"\r" in head[:-1] and b"\n" not in head else LINE_FEED


def guess_csv(head: bytes, given: Dialect, usual: str) -> Dialect:
    """A CSV file's delimiter, quote and escape, by the rows at its beginning.

    The usual delimiter is taken unless another one gives the header and the rows as many fields. Quotes
    are escaped with backslashes if they are not doubled. With tabs, fields are quoted if the header is, or if
    some of them need it.

    Args:
        head: the first rows, in UTF-8.
        given: what is known.
        usual: the delimiter that the file's name suggests.
    """
    delimiters = [given.delimiter] if given.delimiter else list(dict.fromkeys((usual, *_DELIMITERS)))
    looks = [_Look.at(head, _with_quotes(head, replace(given, delimiter=one))) for one in delimiters]
    first = looks[0]
    if first.n_fields > 1 and first.share >= _FEW:
        return first.dialect
    better = [look for look in looks if look.n_fields > 1 and look.share >= _MOST]
    return max(better, key=lambda look: look.n_fields, default=first).dialect


def _with_quotes(head: bytes, given: Dialect) -> Dialect:
    if given.quote == "":
        return replace(given, escape=given.escape or "")
    quoted = replace(given, quote=given.quote or '"')
    doubled = replace(quoted, escape=given.escape or "")
    found, look = doubled, _Look.at(head, doubled)
    if look.n_wrong and given.escape is None:
        escaped = replace(quoted, escape="\\")
        with_escapes = _Look.at(head, escaped)
        if not with_escapes.n_wrong:
            found, look = escaped, with_escapes
    if given.delimiter == "\t" and given.quote is None:
        needed = look.needs_quotes and not look.n_wrong
        if not needed and not look.quotes_header and not given.escape:
            return replace(given, quote="", escape="")
    return found


class _Look(NamedTuple):
    """The first rows of a file, read by a dialect.

    Attributes:
        dialect: the dialect.
        n_fields: of the header.
        share: of the other rows, how many have as many fields.
        n_wrong: rows with quotes at the wrong places.
        quotes_header: whether the header has quotes.
        needs_quotes: whether some quoted field has a delimiter, a line break or a quote in it.
    """

    dialect: Dialect
    n_fields: int
    share: float
    n_wrong: int
    quotes_header: bool
    needs_quotes: bool

    @classmethod
    def at(cls, head: bytes, dialect: Dialect) -> Self:
        rows = _first_rows(head, dialect)
        grammar = Grammar.of(dialect.delimiter or ",", dialect.quote or "", dialect.escape or "")
        wrong = [row for row in rows if not grammar.record.fullmatch(row)]
        counts = [grammar.count_fields(row) for row in rows]
        fields = [field for row in rows for field in grammar.quoted.findall(row)] if dialect.quote else []
        quote, delimiter = (dialect.quote or "").encode(), (dialect.delimiter or ",").encode()
        special = (delimiter, b"\n", quote) if quote else ()
        return cls(
            dialect,
            counts[0] if counts else 0,
            sum(n == counts[0] for n in counts[1:]) / (len(counts) - 1) if len(counts) > 1 else 1.0,
            len(wrong),
            bool(rows and quote and grammar.quoted.match(rows[0]) and rows[0] not in wrong),
            any(mark in field[1:-1] for field in fields for mark in special),
        )


def _first_rows(head: bytes, dialect: Dialect) -> list[bytes]:
    """The first rows that are not blank, without their line breaks; the last one may be cut."""
    rows: list[bytes] = []
    cut = len(head) > _FIRST_BYTES
    for block in blocks(iter([head[:_FIRST_BYTES]]), dialect.rows(csv=True), ""):
        for start, stop in zip(block.starts.tolist(), block.stops().tolist(), strict=True):
            rows.append(block.data[start:stop])
    if cut and len(rows) > 1:
        rows.pop()
    return [row for row in rows if row][:_FIRST_ROWS]
