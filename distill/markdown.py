"""Tables in Markdown."""

from collections.abc import Sequence

__all__ = ["markdown_table"]


def markdown_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int | None = None
) -> str:
    """A table; no text ends its cell.

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
    return " ".join(text.split()).replace("|", "\\|")
