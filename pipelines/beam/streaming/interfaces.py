"""What the inputs and the outputs of streams have in common, and the pipeline of one behind the other."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.unbounded_source import ReadFromUnboundedSource, UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from encoder.errors import MillstreamError
from pipelines.beam.streaming.batch import Arrival
from pipelines.beam.transforms import coder

__all__ = ["ArrivalReader", "Input", "Output", "Source", "StreamJob", "stream"]


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


class ArrivalReader(UnboundedReader):
    """What the readers of our sources have in common; `advance` says what is current, and the end."""

    def __init__(self) -> None:
        self._current: Arrival | None = None
        self._ended = False

    @property
    @abstractmethod
    def _micros(self) -> int:
        """The watermark, microseconds since the epoch."""

    def start(self) -> bool:
        """See `UnboundedReader`, as for the others."""
        return self.advance()

    def get_current(self) -> Arrival:
        """What was read last.

        Raises:
            MillstreamError: nothing was.
        """
        if self._current is None:
            raise MillstreamError("there is no current record: call advance first")
        return self._current

    def get_current_timestamp(self) -> Timestamp:
        """A time in a window that is open."""
        return Timestamp(micros=self.get_current().time)

    def get_watermark(self) -> Timestamp:
        """The end of time, once the source has ended."""
        return MAX_TIMESTAMP if self._ended else Timestamp(micros=self._micros)


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


@dataclass(frozen=True)
class StreamJob:
    """A streaming job.

    Attributes:
        source: gives `Arrival`s.
        output: takes them.
    """

    source: Input
    output: Output


def stream(pipeline: beam.Pipeline, job: StreamJob) -> Any:
    """Add a streaming job to a pipeline.

    Returns:
        What the output gives.
    """
    coder.register()
    return job.output.write(job.source.arrivals(pipeline))
