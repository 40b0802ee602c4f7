"""`EmbedBatches`: embed Arrow record batches, the fast way into any pipeline."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsSideInput, TaggedOutput

from encoder import Encoder
from encoder.arrays.dtypes import Dtype
from encoder.errors import ConfigurationError, InputError
from encoder.store.signing.trust import Trusted
from pipelines.beam.transforms import coder
from pipelines.beam.transforms.error_handling import INPUT_ERRORS, ErrorHandling, failed_row
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.enrich import Layout
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.bad_rows import fields_of

__all__ = ["EmbedBatches", "Model", "resolve_model"]

Model = str | ModelVersion | AsSideInput
"""A REF such as `s3://bucket/models/minilm@7`, a `ModelVersion`, or a side input of one `ModelVersion`."""

_TABLE_ROWS = 8192  # rows of the batches that tables are split into, whose vectors fit the processor's cache


def resolve_model(model: Model, trust: Trusted) -> ModelVersion | AsSideInput:
    """Resolve a REF now, once for all workers."""
    return ModelVersion.resolve(model, trust=trust) if isinstance(model, str) else model


class EmbedBatches(ErrorHandling):
    """Adds the columns `embedding` and `model_version` and the scores of heads to record batches.

    It takes `pa.RecordBatch` elements, and `pa.Table` elements such as those of `ReadFromParquetBatched`,
    which it splits into batches of at most 8,192 rows. It returns `pa.RecordBatch` elements, or with `tables`
    `pa.Table` elements, which travel as Arrow IPC. A row without a text is a bad row and fails the pipeline;
    `with_exception_handling` sends bad rows to an output of their own.

    Args:
        model: a REF such as `s3://bucket/models/minilm@7`, whose version is fixed when the pipeline is built;
            or a side input of one `ModelVersion`, such as `beam.pvalue.AsSingleton(versions)`. Only the
            version travels, not the weights: each machine downloads and verifies them once, and its threads
            share them in memory.
        text: a column (`message`, `user.name`) or a template (`'{merchant} in {city}'`).
        keep: the columns to keep, or None for all.
        vectors: the type of `embedding`: `list`, `fixed_size_list<dtype>[dim]`, or `binary`,
            `fixed_size_binary` of the same numbers in little endian, which is faster to write.
        dtype: the type of the vectors' elements; `int8` scales each vector so that its largest component is
            127 or -127.
        heads: names of the heads whose scores are added, or None for all that the model has.
        mask_fields: columns that are masked in the output as the model masks texts, also those of bad rows.
        masks: the masks that the model must have, as for `Masks.parse`, or None for any.
        tables: return `pa.Table` elements, such as `WriteToParquetBatched` takes.
        trust: the public keys that may sign the version of a REF, as files or PEM texts; by default those of
            `MILLSTREAM_TRUST`. They travel with the pipeline, so workers need no file.

    Raises:
        TemplateError: the template cannot be parsed.
        MillstreamError: the model does not exist or cannot be loaded.
        ConfigurationError: the model has other masks than `masks`, or none for `mask_fields`.
    """

    def __init__(
        self,
        model: Model,
        text: str = "text",
        *,
        keep: Sequence[str] | None = None,
        vectors: Layout = "list",
        dtype: Dtype = "float32",
        heads: Sequence[str] | None = None,
        mask_fields: Sequence[str] = (),
        masks: str | Sequence[str] | None = None,
        tables: bool = False,
        trust: Trusted = None,
    ) -> None:
        super().__init__()
        self._tables = tables
        self._enrichment = Enrichment.parse(
            text,
            keep=keep,
            vectors=vectors,
            dtype=dtype,
            heads=heads,
            mask_fields=mask_fields,
            masks=masks,
        )
        self._model = resolve_model(model, trust)
        if isinstance(self._model, ModelVersion):
            self._enrichment = self._enrichment.settled(self._model.load())

    def schema(self, records: pa.Schema) -> pa.Schema:
        """The schema of what it makes of batches of `records`; `WriteToParquetBatched` needs it.

        Raises:
            ConfigurationError: the model is a side input, whose vectors and heads are not known yet; a kept
                column is missing or has the name of an added one; or the model lacks a head.
        """
        if not isinstance(self._model, ModelVersion):
            raise ConfigurationError("the schema needs a model that is known now: `model` is a side input")
        return self._enrichment.schema(records, self._model.load())

    def expand(self, batches: Any) -> Any:
        """Apply the transform."""
        coder.register()
        step = beam.ParDo(_EmbedBatches(self._enrichment, self._bad_tag, self._tables), self._model)
        return self._outputs(batches, step, pa.Table if self._tables else pa.RecordBatch)


class _EmbedBatches(beam.DoFn):
    def __init__(self, enrichment: Enrichment, bad_tag: str | None, tables: bool) -> None:
        self._enrichment = enrichment
        self._bad_tag = bad_tag
        self._tables = tables
        self._metrics = BatchMetrics()

    def process(self, element: Any, model: ModelVersion) -> Iterator[Any]:
        encoder = model.load()
        for batch in element.to_batches(_TABLE_ROWS) if isinstance(element, pa.Table) else (element,):
            begin = time.perf_counter()
            good, bad = self._embed(batch, encoder, model.label)
            seconds = time.perf_counter() - begin
            if bad and self._bad_tag is None:
                raise next(iter(bad.values()))
            if good is not None:
                yield pa.Table.from_batches([good]) if self._tables else good
            failed = batch
            if bad and (masked := self._enrichment.masked(encoder)):
                failed = masked.batch(batch)
            for row, error in bad.items():
                yield TaggedOutput(self._bad_tag, failed_row(fields_of(failed, row), error))
            self._metrics.report(model.label, batch.num_rows, len(bad), batch.nbytes, seconds)

    def _embed(
        self, batch: pa.RecordBatch, encoder: Encoder, label: str
    ) -> tuple[pa.RecordBatch | None, dict[int, Exception]]:
        """The rows with vectors, or None if there are none, and the errors of the others."""
        try:
            enriched = self._enrichment(batch, encoder, label)
        except INPUT_ERRORS as error:  # a column is missing or has the wrong type
            return None, dict.fromkeys(range(batch.num_rows), error)
        masked = self._enrichment.masked(encoder)
        reasons = (
            enriched.bad if masked is None else {r: masked.masks.text(t) for r, t in enriched.bad.items()}
        )
        bad: dict[int, Exception] = {row: InputError(reason) for row, reason in reasons.items()}
        return enriched.batch if enriched.batch.num_rows else None, bad
