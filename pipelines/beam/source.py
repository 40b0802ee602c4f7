"""What the sources of streams have in common."""

from abc import abstractmethod

import pyarrow as pa
from apache_beam.io.unbounded_source import UnboundedSource

__all__ = ["Source"]


class Source(UnboundedSource):
    """A Beam source of `Arrival`s.

    Attributes:
        records: the schema of its records.
    """

    records: pa.Schema

    @property
    @abstractmethod
    def place(self) -> str:
        """What the command line calls it."""
