"""`Table`: what outputs need of a table, whichever its format is."""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

__all__ = ["ATTEMPTS", "Conflict", "Offset", "Table", "TableState", "pause"]

ATTEMPTS = 20
"""How often a change that always conflicts is tried."""

_PAUSE_SECONDS = 0.05


class Conflict(Exception):
    """Somebody else has committed to the table; nothing of ours was, and what we saw of it is old."""


def pause() -> None:
    """Wait after a conflict, each writer for another time."""
    time.sleep(random.uniform(_PAUSE_SECONDS, 4 * _PAUSE_SECONDS))  # noqa: S311 - no secret


class Offset(NamedTuple):
    """Up to where a partition of the input is in a table.

    Attributes:
        epoch: how often the offsets of the partition have begun again.
        next: the first offset of this epoch that is not in the table.
    """

    epoch: int
    next: int


class TableState(Protocol):
    """A table as it was when somebody looked at it.

    Every method raises `StoreUnavailable` if the catalog or the storage does not answer, and
    `ConfigurationError` if they refuse.
    """

    @property
    def schema(self) -> pa.Schema:
        """The columns, with the types in which they are stored."""

    @property
    def properties(self) -> Mapping[str, str]:
        """The table's properties."""

    def offset(self, key: str) -> Offset | None:
        """Up to where a partition is in the table, or None if nothing of it was ever written."""

    def write(self, rows: pa.Table, n_bytes: int) -> Sequence[Any]:
        """Write data files, which no reader sees before `append`.

        Args:
            rows: `(n,)` rows with the columns of `schema`, as `as_stored` gives them.
            n_bytes: of Arrow data in a file, at most.

        Returns:
            The files, for `append` to this state or to a later one.
        """

    @property
    def is_partitioned(self) -> bool:
        """Whether files hold rows of one partition each."""

    def part_folder(self, name: str) -> str:
        """The URI of a folder beside the table's data, for files that `files_of` finds there."""

    def files_of(self, folder: str, names: Sequence[str]) -> Sequence[Any]:
        """Those of some Parquet files in a part folder that have rows, for `append`.

        Args:
            folder: as `part_folder` gives it.
            names: of the files, whose columns are those of `schema`.
        """

    def append(self, files: Sequence[Any], offsets: Mapping[str, Offset]) -> None:
        """Add files to the table together with offsets, in one commit.

        Raises:
            Conflict: since this look somebody has committed something that may contradict it.
        """

    def add_columns(self, schema: pa.Schema) -> None:
        """Add columns to the table, in a commit of its own.

        Raises:
            Conflict: somebody else has changed the table.
        """

    def set_property(self, name: str, value: str) -> None:
        """Set a property, in a commit of its own.

        Raises:
            Conflict: somebody else has changed the table.
        """


class Table(Protocol):
    """A table that may not exist yet."""

    uri: str
    """The table as the user names it, for messages."""

    def look(self) -> TableState | None:
        """The table as it is now, or None if there is none.

        Raises:
            StoreUnavailable: the catalog or the storage does not answer.
            ConfigurationError: they refuse.
        """

    def create(self, schema: pa.Schema) -> None:
        """Create the table, unless it exists.

        Args:
            schema: its columns, as `stored` gives them.

        Raises:
            StoreUnavailable: the catalog or the storage does not answer.
            ConfigurationError: they refuse, or a column cannot partition the table.
        """

    def stored(self, schema: pa.Schema) -> pa.Schema:
        """The columns in which records are stored.

        Raises:
            ConfigurationError: a table cannot hold a column.
        """
