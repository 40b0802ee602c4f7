"""The streaming pipeline: an input of `Arrival`s, and an output that embeds and writes them."""

from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from pipelines.beam import coder
from pipelines.beam.source import Input, Output

__all__ = ["StreamJob", "stream"]


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
