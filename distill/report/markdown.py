"""Tables in Markdown."""

import re
from collections.abc import Sequence

__all__ = ["markdown_table"]

_MARKS = re.compile(r"[\\`*_\[<&~$|]|(?<=\bhttp):|(?<=\bhttps):|(?<=\bftp):|(?<=\bwww)\.", re.IGNORECASE)
"""What would begin code, emphasis, a link or an image, HTML, an entity, a deletion, mathematics, the next
cell, or an address that GitHub makes a link of. A bracket that nothing opens closes nothing."""


def markdown_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int | None = None
) -> str:
    """A table; every text is shown as it is, whatever it means in Markdown or HTML, and none ends its cell.

    Args:
        columns: their names.
        rows: a text for each column.
        numbers_from: the first of the columns that stand at the right.
    """
    first = len(columns) if numbers_from is None else numbers_from
    rule = ["---"] * first + ["---:"] * (len(columns) - first)
    lines = [[_cell(text) for text in columns], rule, *([_cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return _MARKS.sub(r"\\\g<0>", " ".join(text.split()))
