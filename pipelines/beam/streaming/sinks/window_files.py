"""The files of a window: their names, and which rows of a firing go into which of them.

A firing may lack rows that a file of its window has: those of an earlier run whose inputs are archived, or of
a subscription that was drained. Such a file stays, and the rows that no file has go into a further one.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoder.errors import NotInStore
from pipelines.beam.streaming.sinks.positions import Positions, earlier_rows
from pipelines.records.bad_rows import BadRow
from pipelines.sinks.parquet import ParquetParts

__all__ = ["FILE_NAME", "POSITIONS", "FileRows", "WindowFiles", "window_name"]

_log = logging.getLogger(__name__)

FILE_NAME = r"window--?\d{8,}T\d{6}(\.\d{6})?Z-\d+s-\d{5,}(-\d+)?\.parquet"
"""A pattern for the names of files."""

POSITIONS = "millstream.positions"
"""The metadata key of a file's `Positions`."""


def window_name(start: float, size: float, shard: int) -> str:
    """The first file of a window: its start (seconds since the epoch), its length in seconds, its shard."""
    date, _, clock = str(np.datetime64(round(start * 1e6), "us")).partition("T")  # any year
    text = date.replace("-", "") if date[0] != "-" else "-" + date[1:].replace("-", "")
    time = clock.replace(":", "").removesuffix(".000000")
    return f"window-{text}T{time}Z-{size:.0f}s-{shard:05d}.parquet"


def _numbered(name: str, number: int) -> str:
    return f"{name.removesuffix('.parquet')}-{number}.parquet" if number else name


@dataclass(frozen=True)
class FileRows:
    """A file to write, and its rows.

    Attributes:
        name: of the file.
        rows: `(n,)`: which rows of the firing it takes.
        before: its metadata so far; None for a new file.
    """

    name: str
    rows: NDArray[np.bool_]
    before: dict[str, str] | None


class WindowFiles:
    """The files of windows under one URI."""

    def __init__(self, parts: ParquetParts) -> None:
        self._parts = parts

    def metadata(self, name: str) -> dict[str, str] | None:
        """The metadata of a file; None if there is none."""
        try:
            return self._parts.metadata(name)
        except NotInStore:
            return None

    def plan(self, name: str, rows: pa.Table, bad: list[BadRow], *, again: bool) -> list[FileRows]:
        """Distribute the rows of a firing, each of which is then in one file.

        Files whose rows the firing has may be replaced, and the first of them takes the rows that no file
        has; without such a file, a new one does.

        Args:
            name: the first file of the window.
            rows: sorted by `SOURCE` and `ROW`, each once.
            bad: the bad rows of the firing.
            again: also write files that would not change.

        Returns:
            The files to write.
        """
        unwritten = np.ones(rows.num_rows, bool)
        covered: list[FileRows] = []
        free = None
        for number in count():
            file = _numbered(name, number)
            before = self.metadata(file)
            if before is None:
                free = free or file
                if number:
                    break
                continue
            held, is_covered = _held(file, before, rows, bad)
            unwritten &= ~held
            if is_covered:
                covered.append(FileRows(file, held, before))
        return list(_files(covered, unwritten, str(free), again=again))


def _files(
    covered: list[FileRows], unwritten: NDArray[np.bool_], free: str, *, again: bool
) -> Iterator[FileRows]:
    for file in covered:
        more = unwritten if file is covered[0] else np.zeros_like(unwritten)
        if again or more.any():
            yield FileRows(file.name, file.rows | more, file.before)
    if not covered and unwritten.any():
        yield FileRows(free, unwritten, None)


def _held(
    name: str, metadata: dict[str, str], rows: pa.Table, bad: list[BadRow]
) -> tuple[NDArray[np.bool_], bool]:
    """Which rows a file holds, and whether it holds no others."""
    text = metadata.get(POSITIONS)
    if text is not None:
        positions = Positions.decode(text)
        held = positions.held(rows)
        return held, int(held.sum()) == len(positions)
    earlier = earlier_rows(metadata, rows, bad)
    if earlier is not None:
        return earlier, True
    _log.warning(
        "%s: an earlier version wrote this file, and its rows are not those of this run: it stays as it is, "
        "and a further file of the window may repeat some of its rows",
        name,
    )
    return np.zeros(rows.num_rows, bool), False
