"""The interfaces of a stream's sources and sinks, and the pipeline that connects one to the other."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import Coder, PickleCoder
from apache_beam.io.unbounded_source import (
    CheckpointMark,
    ReadFromUnboundedSource,
    UnboundedReader,
    UnboundedSource,
)
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from encoder.errors import MillstreamError
from encoder.store.objects import Objects
from pipelines.beam.streaming.batch import SourceBatch
from pipelines.beam.transforms import coder

__all__ = ["BatchReader", "PolledSource", "Sink", "Source", "StreamJob", "stream"]


class Source(ABC):
    """Where the records of a stream come from.

    Attributes:
        schema: the schema of its records.
    """

    schema: pa.Schema

    @property
    @abstractmethod
    def uri(self) -> str:
        """Its name on the command line, such as `kafka:TOPIC`."""

    @abstractmethod
    def read(self, pipeline: beam.Pipeline) -> Any:
        """Add the source to a pipeline; returns a PCollection of `SourceBatch`."""

    def claim(self, objects: Objects, *, accept: bool) -> "tuple[Source, dict[str, str]]":
        """Claim an output folder for what the source's name stands for.

        Args:
            objects: the folder.
            accept: whether something else of the same name may be in it.

        Returns:
            The source that tells its rows from those of the other one, and the metadata of files.

        Raises:
            OtherInput: the folder holds rows of something else of the same name.
        """
        del objects, accept
        return self, {}

    def claim_topic(self, output: str, *, accept: bool) -> "Source":
        """Claim an output topic of the same brokers for what the source's name stands for.

        Args:
            output: the topic's name.
            accept: whether it may have records of something else of the same name.

        Returns:
            The source that tells its records from those of the other one.

        Raises:
            OtherInput: the topic was made of something else of the same name.
        """
        del output, accept
        return self


class PolledSource(Source, UnboundedSource):
    """A source with readers of our own, which Beam polls."""

    @property
    def poll_interval(self) -> float:
        """Seconds until Beam polls a reader again that found nothing."""
        return 0.05

    @abstractmethod
    def divide(self) -> list[Self]:
        """One source for each parallel reader."""

    @abstractmethod
    def reader(self, checkpoint: CheckpointMark | None) -> "BatchReader":
        """A reader that continues from a checkpoint, or starts at the beginning."""

    def read(self, pipeline: beam.Pipeline) -> Any:
        """Add Beam's read of an unbounded source."""
        return pipeline | "Read" >> ReadFromUnboundedSource(self, poll_interval=self.poll_interval)

    def split(self, desired_num_splits: int, options: Any = None) -> list[Self]:
        """`divide`, however many sources Beam wants."""
        return self.divide()

    def create_reader(self, options: Any, checkpoint_mark: CheckpointMark | None) -> "BatchReader":
        """`reader`, whatever Beam's options."""
        return self.reader(checkpoint_mark)

    def get_checkpoint_mark_coder(self) -> Coder:
        """Checkpoints are pickled."""
        return PickleCoder()


class BatchReader(UnboundedReader):
    """A reader of batches; a subclass implements `advance`, which sets `_current` and `_ended`."""

    def __init__(self) -> None:
        self._current: SourceBatch | None = None
        self._ended = False

    @property
    @abstractmethod
    def _watermark_micros(self) -> int:
        """The watermark, microseconds since the epoch."""

    def start(self) -> bool:
        """Read the first batch; False if there is none now."""
        return self.advance()

    def get_current(self) -> SourceBatch:
        """The batch that was read last.

        Raises:
            MillstreamError: none was read.
        """
        if self._current is None:
            raise MillstreamError("there is no current batch: call advance first")
        return self._current

    def get_current_timestamp(self) -> Timestamp:
        """A time in a window that is still open."""
        return Timestamp(micros=self.get_current().timestamp)

    def get_watermark(self) -> Timestamp:
        """The watermark; the end of time once the source has ended."""
        return MAX_TIMESTAMP if self._ended else Timestamp(micros=self._watermark_micros)


class Sink(ABC):
    """Where the enriched records of a stream go."""

    @property
    @abstractmethod
    def uri(self) -> str:
        """Its name on the command line, such as `kafka:TOPIC`."""

    @abstractmethod
    def write(self, batches: Any) -> Any:
        """Add the sink to a pipeline, behind a PCollection of `SourceBatch`; returns a PCollection."""

    def finish(self) -> None:  # noqa: B027 - topics leave nothing behind
        """Remove temporary files, once nobody writes any more."""


@dataclass(frozen=True)
class StreamJob:
    """A streaming job.

    Attributes:
        source: where records come from.
        sink: where they go.
        dim: the number of dimensions of the model.
        drift: takes the source's batches too, and compares them with the model's drift baseline; or None.
    """

    source: Source
    sink: Sink
    dim: int | None = None
    drift: beam.PTransform[Any, Any] | None = None


def stream(pipeline: beam.Pipeline, job: StreamJob) -> Any:
    """Add a streaming job to a pipeline.

    Returns:
        What the sink returns.
    """
    coder.register()
    batches = job.source.read(pipeline)
    if job.drift is not None:
        batches | "Drift" >> job.drift
    return job.sink.write(batches)
