"""Plan a streaming job: check all options before anything is written."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from encoder.errors import ConfigurationError
from encoder.reference import parse
from encoder.store.objects import open_objects
from pipelines.beam.streaming.drift import DriftOptions, MeasureDrift
from pipelines.beam.streaming.interfaces import Source, StreamJob
from pipelines.beam.streaming.model import LatestModel, PinnedModel, StreamModel
from pipelines.beam.streaming.sink_options import SinkOptions
from pipelines.beam.streaming.sinks.parquet import ParquetSink
from pipelines.beam.streaming.sinks.window_files import FILE_NAME
from pipelines.beam.streaming.source_options import SourceOptions, Timing
from pipelines.enrich.delete_columns import check_names
from pipelines.enrich.drift_sums import baseline_of
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.sinks.hive_folders import check_folders
from pipelines.sinks.output_claim import DELETES, MASKED, PARTITIONED, UNSAID, OutputClaim
from pipelines.sinks.tables.partitioning import parse_partition_by

__all__ = ["claim_stream", "plan_stream"]


def plan_stream(
    *,
    model: str,
    source: SourceOptions,
    sink: SinkOptions,
    enrichment: Enrichment,
    timing: Timing | None = None,
    follow: float | None = None,
    drift: DriftOptions | None = None,
) -> StreamJob:
    """Plan a streaming job; nothing is written.

    Args:
        model: REF of the model.
        source: where records come from; at least one must be there to tell the columns.
        sink: where they go.
        enrichment: the text template, the columns to keep, the format of the vectors, the heads.
        timing: windows and their times.
        follow: seconds between checks for a newer version of the model; None stays with the current one.
        drift: how records are compared with the baseline of the model, if it has one; None for no comparison.

    Raises:
        TemplateError: the template names a field that no record has.
        InputError: there are no inputs, or their schemas differ.
        OutputConflict: the output is inside the input, or the other way round.
        ConfigurationError: a REF, a URI, a topic, a time or a kept column is wrong.
    """
    timing = timing or Timing()
    wanted = [*enrichment.template.fields, *([timing.field] if timing.field else []), *sink.key_fields]
    folder = sink.target if sink.kind == "parquet" else None
    records = source.source(wanted, enrichment.keep, timing, folder)
    nothing = pa.RecordBatch.from_pylist([], records.schema)
    timing.windows().event_times(nothing, np.empty(0, np.int64))  # refuses a field that holds no times
    if enrichment.keep is None:
        enrichment = replace(enrichment, keep=tuple(records.schema.names))
    version = ModelVersion.resolve(model)
    enrichment = enrichment.settled(version.load())
    _check_keys(sink, enrichment)
    enrichment.schema(records.schema, version.load())  # refuses columns that cannot be kept
    if sink.delete_columns:
        if not source.uri.startswith("kafka:"):
            raise ConfigurationError(
                f"--delete-columns is for Kafka topics, not for {source.uri}: leave it out"
            )
        check_names(enrichment.keep or (), "--keep")
    kept = pa.schema([records.schema.field(name) for name in enrichment.keep or ()])
    check_folders(parse_partition_by(sink.partition_by), kept, enrichment.mask_fields)
    followed = _model(model, version, follow, enrichment)
    measured = _drift(drift, version, followed, enrichment)
    return StreamJob(records, sink.sink(followed, enrichment, timing.windows()), version.dim, measured)


def _drift(
    options: DriftOptions | None, version: ModelVersion, model: StreamModel, enrichment: Enrichment
) -> MeasureDrift | None:
    """What compares records with the baseline; None if the version that the stream begins with has none."""
    if options is None:
        return None
    if baseline_of(version.load().heads.heads) is None:
        if options.output is not None:
            raise ConfigurationError(
                f"--drift-output needs a model with a drift baseline, and {version.label} has none: make one "
                "with `millstream head fit drift`"
            )
        return None
    if options.output is not None:
        open_objects(options.output)  # refuses what is no folder
    return MeasureDrift(model, enrichment.template, options)


def _check_keys(sink: SinkOptions, enrichment: Enrichment) -> None:
    """Refuse keys that are made of what is masked."""
    for name in sink.key_fields:
        for masked in enrichment.mask_fields:
            if name == masked or name.startswith(f"{masked}.") or masked.startswith(f"{name}."):
                raise ConfigurationError(
                    f"--key is made of {name!r}, which --mask-fields masks: make it of other fields"
                )


def _model(ref: str, version: ModelVersion, follow: float | None, enrichment: Enrichment) -> StreamModel:
    if follow is None:
        return PinnedModel(version)
    reference = parse(ref)
    if reference.kind != "store" or reference.selector != "latest":
        raise ConfigurationError(
            f"{ref} never changes: to follow a model, name a store, such as ./store/minilm@latest"
        )
    return LatestModel(str(reference), follow, enrichment, version.trust)


def claim_stream(job: StreamJob, *, accept_new_input: bool = False) -> StreamJob:
    """Claim the output for this job, whatever its model; topics may be shared by streams of other inputs.

    Args:
        job: the job.
        accept_new_input: whether the output may hold rows of another topic of the same name.

    Returns:
        The job, which tells its rows from those of the other topic.

    Raises:
        OutputConflict: the folder holds something else, or another stream.
        OtherInput: the output holds rows of another topic of the same name.
    """
    if not isinstance(job.sink, ParquetSink):
        return replace(job, source=_claim_topic(job, accept=accept_new_input))
    objects = open_objects(job.sink.file.output)
    options = {**_options(job.source.uri, job.sink), "dimensions": job.dim}
    OutputClaim("stream", options, files=re.compile(FILE_NAME), unsaid=UNSAID).take(objects)
    source, metadata = job.source.claim(objects, accept=accept_new_input)
    return replace(job, source=source, sink=replace(job.sink, file=replace(job.sink.file, metadata=metadata)))


def _claim_topic(job: StreamJob, *, accept: bool) -> Source:
    """Claim an output topic: in Kafka by its brokers; else in the folder of dead letters, if there is one."""
    kind, _, topic = job.sink.uri.partition(":")
    if kind == "kafka":
        return job.source.claim_topic(topic, accept=accept)
    folder = getattr(job.sink, "dead_letters", "")
    if "://" not in folder:
        return job.source
    source, _ = job.source.claim(open_objects(folder), accept=accept)
    return source


def _options(source: str, sink: ParquetSink) -> dict[str, Any]:
    enrichment = sink.file.enrichment
    return {
        "source": source,
        "text": enrichment.template.source,
        "keep": enrichment.keep,
        "vectors": enrichment.vectors,
        "heads": enrichment.heads,
        "window": sink.windows.size,
        "event_time": sink.windows.field,
        "shards": sink.shards,
        DELETES: sink.file.delete_columns,
        MASKED: enrichment.mask_fields,
        PARTITIONED: list(map(str, sink.file.partitions)),
    }
