"""From the words of the command line to a streaming job: everything that can be wrong is found here."""

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from encoder.errors import ConfigurationError, OutputConflict
from encoder.reference import parse, store_uri
from encoder.store.objects import open_objects
from pipelines.beam.models import Fixed, Followed, StreamModel
from pipelines.beam.stream import StreamJob
from pipelines.beam.stream_inputs import StreamInput, Timing, place_of
from pipelines.beam.window_files import FILE_NAME, WindowFile
from pipelines.enrich import Enrichment, chosen_heads
from pipelines.model_version import ModelVersion
from pipelines.records.template import TextTemplate
from pipelines.sinks.parquet import ParquetParts
from pipelines.vectors import VectorFormat

__all__ = ["STREAM_FILE", "claim_stream", "plan_stream"]

STREAM_FILE = "_stream.json"
"""Written before the work begins: what the folder is the output of."""


def plan_stream(
    *,
    model: str,
    source: StreamInput,
    output: str,
    text: str,
    keep: Sequence[str] | None = None,
    vectors: Literal["list", "binary"] = "list",
    dtype: Literal["float32", "float16", "int8"] = "float32",
    heads: Sequence[str] | None = None,
    timing: Timing | None = None,
    shards: int = 1,
    follow: float | None = None,
) -> StreamJob:
    """Check everything and say what to do; nothing is written.

    Args:
        model: REF of the model.
        source: the input; at least one record must be there to tell the columns.
        output: `parquet:URI`.
        text: the text template.
        keep: columns to keep, or None for all.
        vectors: layout of the vectors.
        dtype: type of their elements.
        heads: the heads whose scores are added, or None for all.
        timing: windows and their times.
        shards: files of a window.
        follow: seconds between two looks for a newer version of the model; None stays with the one of now.

    Raises:
        TemplateError: the template cannot be read, or names a field that no record has.
        InputError: there are no inputs, or they do not fit together.
        OutputConflict: the output lies among the inputs, or the other way round.
        ConfigurationError: a REF, a URI, a time or a kept column that does not exist.
    """
    timing = timing or Timing()
    template = TextTemplate.parse(text)
    target = store_uri(place_of(output, "parquet", "--output"))
    kept = None if keep is None else tuple(dict.fromkeys(keep))
    wanted = [*template.fields, *([timing.field] if timing.field else [])]
    read = source.source(wanted, kept, timing, target)
    form = VectorFormat(vectors, dtype)
    columns = tuple(read.records.names) if kept is None else kept
    enrichment = Enrichment(template, columns, form, chosen_heads(heads))
    version = ModelVersion.resolve(model)
    enrichment.schema(read.records, version.load())  # refuses columns that cannot be kept
    return StreamJob(
        source=read,
        windows=timing.windows(),
        shards=shards,
        file=WindowFile(_model(model, version, follow, enrichment), enrichment, target),
    )


def _model(ref: str, version: ModelVersion, follow: float | None, enrichment: Enrichment) -> StreamModel:
    if follow is None:
        return Fixed(version)
    reference = parse(ref)
    if reference.kind != "store" or reference.selector != "latest":
        raise ConfigurationError(
            f"{ref} always means the same model: name a store, as in ./store/minilm@latest"
        )
    return Followed(str(reference), follow, enrichment)


def claim_stream(job: StreamJob) -> None:
    """Make the output folder this job's; the same job may claim it again, with any model.

    Raises:
        OutputConflict: the folder holds Parquet files that are no stream's, or those of another one.
    """
    objects = open_objects(job.file.output)
    description = msgspec.json.encode(_description(job))
    claimed = objects.stat(STREAM_FILE) is not None
    names = ParquetParts(job.file.output).names()
    if foreign := next((name for name in names if not claimed or not re.fullmatch(FILE_NAME, name)), None):
        raise OutputConflict(f"{job.file.output} holds {foreign}, which no stream wrote: name another folder")
    if not claimed:
        objects.create(STREAM_FILE, description)
    if objects.read(STREAM_FILE) != description:
        raise OutputConflict(
            f"{job.file.output} holds the output of a stream with another input, text, windows, number of "
            "files, columns or vectors: name another folder"
        )


def _description(job: StreamJob) -> dict[str, Any]:
    return {
        "source": job.source.place,
        "text": job.file.enrichment.template.source,
        "keep": job.file.enrichment.keep,
        "vectors": msgspec.to_builtins(job.file.enrichment.vectors),
        "heads": job.file.enrichment.heads,
        "window": job.windows.size,
        "event_time": job.windows.field,
        "shards": job.shards,
    }
