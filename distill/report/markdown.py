"""Tables in Markdown."""

import re
from collections.abc import Sequence

__all__ = ["markdown_table"]

_MARKS = re.compile(r"[\\`*_\[<&~$|]|(?<=\bhttp):|(?<=\bhttps):|(?<=\bftp):|(?<=\bwww)\.", re.IGNORECASE)
"""The start of code, emphasis, a link or image, HTML, an entity, a deletion, mathematics, the next cell, or
an address that GitHub turns into a link."""


def markdown_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int | None = None
) -> str:
    """Write a table; texts are escaped, so that none is rendered as Markdown or HTML.

    Args:
        columns: the names of the columns.
        rows: a text for each column.
        numbers_from: the index of the first right-aligned column.
    """
    first = len(columns) if numbers_from is None else numbers_from
    rule = ["---"] * first + ["---:"] * (len(columns) - first)
    lines = [[_cell(text) for text in columns], rule, *([_cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return _MARKS.sub(r"\\\g<0>", " ".join(text.split()))
