"""From the words of the command line to a streaming job: everything that can be wrong is found here."""

import re
from collections.abc import Sequence
from typing import Any

from encoder.dtypes import Dtype
from encoder.errors import ConfigurationError
from encoder.reference import parse
from encoder.store.objects import open_objects
from pipelines.beam.streaming.interfaces import StreamJob
from pipelines.beam.streaming.model import Fixed, Followed, StreamModel
from pipelines.beam.streaming.sink_options import OutputWords
from pipelines.beam.streaming.sinks.parquet import FILE_NAME, WindowFiles
from pipelines.beam.streaming.source_options import StreamInput, Timing
from pipelines.enrich import Layout
from pipelines.enrich.columns import VectorFormat
from pipelines.enrich.enrichment import Enrichment, chosen_heads
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.template import TextTemplate
from pipelines.sinks.output_claim import OutputClaim

__all__ = ["claim_stream", "plan_stream"]


def plan_stream(
    *,
    model: str,
    source: StreamInput,
    output: OutputWords,
    text: str,
    keep: Sequence[str] | None = None,
    vectors: Layout = "list",
    dtype: Dtype = "float32",
    heads: Sequence[str] | None = None,
    timing: Timing | None = None,
    follow: float | None = None,
) -> StreamJob:
    """Check everything and say what to do; nothing is written.

    Args:
        model: REF of the model.
        source: the input; at least one record must be there to tell the columns.
        output: the output.
        text: the text template.
        keep: columns to keep, or None for all.
        vectors: layout of the vectors.
        dtype: type of their elements.
        heads: the heads whose scores are added, or None for all.
        timing: windows and their times.
        follow: seconds between two looks for a newer version of the model; None stays with the one of now.

    Raises:
        TemplateError: the template cannot be read, or names a field that no record has.
        InputError: there are no inputs, or they do not fit together.
        OutputConflict: the output lies among the inputs, or the other way round.
        ConfigurationError: a REF, a URI, a topic, a time or a kept column that does not exist.
    """
    timing = timing or Timing()
    template = TextTemplate.parse(text)
    kept = None if keep is None else tuple(dict.fromkeys(keep))
    wanted = [*template.fields, *([timing.field] if timing.field else []), *output.key_fields]
    read = source.source(wanted, kept, timing, output.place if output.kind == "parquet" else None)
    form = VectorFormat(vectors, dtype)
    columns = tuple(read.records.names) if kept is None else kept
    enrichment = Enrichment(template, columns, form, chosen_heads(heads))
    version = ModelVersion.resolve(model)
    enrichment.schema(read.records, version.load())  # refuses columns that cannot be kept
    followed = _model(model, version, follow, enrichment)
    return StreamJob(read, output.output(followed, enrichment, timing.windows()))


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
    """Claim the output folder for this job, whatever its model; topics may be shared.

    Raises:
        OutputConflict: the folder holds something else, or another stream.
    """
    if isinstance(job.output, WindowFiles):
        options = _options(job.source.place, job.output)
        claim = OutputClaim("stream", options, files=re.compile(FILE_NAME))
        claim.take(open_objects(job.output.file.output))


def _options(source: str, output: WindowFiles) -> dict[str, Any]:
    enrichment = output.file.enrichment
    return {
        "source": source,
        "text": enrichment.template.source,
        "keep": enrichment.keep,
        "vectors": enrichment.vectors,
        "heads": enrichment.heads,
        "window": output.windows.size,
        "event_time": output.windows.field,
        "shards": output.shards,
    }
