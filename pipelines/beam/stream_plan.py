"""From the words of the command line to a streaming job: everything that can be wrong is found here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from encoder.errors import ConfigurationError, OutputConflict
from encoder.reference import parse, store_uri
from encoder.store.objects import open_objects
from pipelines.beam.file_source import FileSource
from pipelines.beam.models import Fixed, Followed, StreamModel
from pipelines.beam.pieces import Windows
from pipelines.beam.plan import check_apart
from pipelines.beam.stream import StreamJob
from pipelines.beam.watermark import Promise
from pipelines.beam.window_files import FILE_NAME, WindowFile
from pipelines.enrich import Enrichment
from pipelines.model_version import ModelVersion
from pipelines.records.formats import find_inputs
from pipelines.records.schema import infer_schema
from pipelines.records.template import TextTemplate
from pipelines.sinks.parquet import ParquetParts
from pipelines.vectors import VectorFormat

__all__ = ["STREAM_FILE", "Timing", "claim_stream", "plan_stream"]

STREAM_FILE = "_stream.json"
"""Written before the work begins: what the folder is the output of."""

_MICROS = 1_000_000


@dataclass(frozen=True)
class Timing:
    """Times of a stream, in seconds.

    Attributes:
        field: dotted name of the field with the time of a record; None takes the time of its file.
        window: the size of a window.
        lateness: how long after its end a window takes late records.
        disorder: by how much a record may be older than one before it.
        idle: after which a silent source no longer holds up windows.
        look: between two looks for new files.
        ends: whether the stream ends when all that is there has been read.
    """

    field: str | None = None
    window: float = 60
    lateness: float = 600
    disorder: float = 60
    idle: float = 60
    look: float = 1
    ends: bool = False

    def windows(self) -> Windows:
        """The windows.

        Raises:
            ConfigurationError: a window is no whole number of seconds.
        """
        if self.window < 1 or self.window % 1:
            raise ConfigurationError(f"a window of {self.window:g} s: give whole seconds, one or more")
        return Windows(round(self.window * _MICROS), round(self.lateness * _MICROS), self.field)

    def promise(self) -> Promise:
        """For the watermark of the source."""
        return Promise(round(self.disorder * _MICROS), round(self.idle * _MICROS))


def plan_stream(
    *,
    model: str,
    source: str,
    output: str,
    text: str,
    keep: Sequence[str] | None = None,
    vectors: Literal["list", "binary"] = "list",
    dtype: Literal["float32", "float16", "int8"] = "float32",
    input_format: str | None = None,
    timing: Timing | None = None,
    shards: int = 1,
    follow: float | None = None,
) -> StreamJob:
    """Check everything and say what to do; nothing is written.

    Args:
        model: REF of the model.
        source: `files:GLOB`; at least one file must be there to tell the columns.
        output: `parquet:URI`.
        text: the text template.
        keep: columns to keep, or None for all.
        vectors: layout of the vectors.
        dtype: type of their elements.
        input_format: format of the files, or None to go by their extensions.
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
    pattern, target = _place(source, "files", "--input"), store_uri(_place(output, "parquet", "--output"))
    files = find_inputs(pattern, input_format)
    check_apart(pattern, files, target)
    kept = None if keep is None else tuple(dict.fromkeys(keep))
    wanted = [*template.fields, *([timing.field] if timing.field else [])]
    records = infer_schema(files, wanted, kept)
    enrichment = Enrichment(
        template, tuple(records.names) if kept is None else kept, VectorFormat(vectors, dtype)
    )
    version = ModelVersion.resolve(model)
    enrichment.schema(records, version.dim)  # refuses columns that cannot be kept
    return StreamJob(
        source=FileSource(
            pattern,
            input_format,
            records,
            timing.windows(),
            timing.promise(),
            every=timing.look,
            ends=timing.ends,
        ),
        windows=timing.windows(),
        shards=shards,
        file=WindowFile(_model(model, version, follow), enrichment, target),
    )


def _place(text: str, kind: str, flag: str) -> str:
    found, separator, place = text.partition(":")
    if found != kind or not separator or not place:
        raise ConfigurationError(f"cannot use {flag} {text}: write {kind}: and the place behind it")
    return place


def _model(ref: str, version: ModelVersion, follow: float | None) -> StreamModel:
    if follow is None:
        return Fixed(version)
    reference = parse(ref)
    if reference.kind != "store" or reference.selector != "latest":
        raise ConfigurationError(
            f"{ref} always means the same model: name a store, as in ./store/minilm@latest"
        )
    return Followed(str(reference), follow)


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
    source = job.source
    return {
        "source": source.pattern if isinstance(source, FileSource) else repr(source),
        "text": job.file.enrichment.template.source,
        "keep": job.file.enrichment.keep,
        "vectors": msgspec.to_builtins(job.file.enrichment.vectors),
        "window": job.windows.size,
        "event_time": job.windows.field,
        "shards": job.shards,
    }
