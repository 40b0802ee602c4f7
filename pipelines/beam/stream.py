"""The streaming pipeline: source → pieces of windows → vectors → a Parquet file for each window and shard."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.io.unbounded_source import ReadFromUnboundedSource
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from pipelines.beam import coder
from pipelines.beam.pieces import Arrival, Windows
from pipelines.beam.source import Source
from pipelines.beam.window_files import Sharded, WindowFile, WriteWindows

__all__ = ["StreamJob", "stream"]


@dataclass(frozen=True)
class StreamJob:
    """A streaming job.

    Attributes:
        source: gives `Arrival`s.
        windows: of event time.
        shards: files of a window.
        file: how a window's file is made.
    """

    source: Source
    windows: Windows
    shards: int
    file: WindowFile


def stream(pipeline: beam.Pipeline, job: StreamJob) -> Any:
    """Add a streaming job to a pipeline.

    Returns:
        A PCollection of the names of the files that were written.
    """
    coder.register()
    return (
        pipeline
        | "Read" >> ReadFromUnboundedSource(job.source, poll_interval=0.05)
        | "Cut" >> beam.FlatMap(_pieces, job.windows, job.shards).with_output_types(Sharded)
        | "Files" >> WriteWindows(job.windows, job.file)
    )


def _pieces(arrival: Arrival, windows: Windows, shards: int) -> Iterator[TimestampedValue[Sharded]]:
    shard = zlib.crc32(arrival.source.encode()) % shards  # the same wherever it is computed
    for micros, piece in windows.pieces(arrival):
        yield TimestampedValue((shard, piece), Timestamp(micros=micros))
