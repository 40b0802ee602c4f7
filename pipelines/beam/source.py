"""What the inputs and the outputs of streams have in common."""

from abc import ABC, abstractmethod
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.unbounded_source import ReadFromUnboundedSource, UnboundedSource

__all__ = ["Input", "Output", "Source"]


class Input(ABC):
    """Gives `Arrival`s.

    Attributes:
        records: the schema of its records.
    """

    records: pa.Schema

    @property
    @abstractmethod
    def place(self) -> str:
        """What the command line calls it."""

    @abstractmethod
    def arrivals(self, pipeline: beam.Pipeline) -> Any:
        """Add the input to a pipeline; a PCollection of `Arrival`s."""


class Source(Input, UnboundedSource):
    """An input that is a Beam source."""

    @property
    def poll_seconds(self) -> float:
        """How long a reader that found nothing is left alone."""
        return 0.05

    def arrivals(self, pipeline: beam.Pipeline) -> Any:
        """See `Input`."""
        return pipeline | "Read" >> ReadFromUnboundedSource(self, poll_interval=self.poll_seconds)


class Output(ABC):
    """Takes `Arrival`s."""

    @property
    @abstractmethod
    def place(self) -> str:
        """What the command line calls it."""

    @abstractmethod
    def write(self, arrivals: Any) -> Any:
        """Add the output to a pipeline, behind a PCollection of `Arrival`s; a PCollection."""

    def finish(self) -> None:  # noqa: B027 - topics need none
        """Clean up, once nobody writes any more."""
