"""`EmbedBatches`: Arrow record batches in, the same with vectors out; the fast way into any pipeline."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsSideInput, TaggedOutput

from encoder import Encoder
from encoder.dtypes import Dtype
from encoder.errors import InputError
from pipelines.beam.transforms import coder
from pipelines.beam.transforms.errors import OF_INPUT, HandlesFailures, failure
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.enrich import Layout
from pipelines.enrich.columns import VectorFormat
from pipelines.enrich.enrichment import Enrichment, chosen_heads
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.bad_rows import fields_of
from pipelines.records.template import TextTemplate

__all__ = ["EmbedBatches", "Model", "model_of"]

Model = str | ModelVersion | AsSideInput
"""A REF, a version, or a side input of one `ModelVersion`."""

_TABLE_ROWS = 8192  # of a batch that a table is cut into: its vectors stay in the processor's cache


def model_of(model: Model) -> ModelVersion | AsSideInput:
    """The version that a transform's worker gets: a REF is resolved now, once for all workers."""
    return ModelVersion.resolve(model) if isinstance(model, str) else model


class EmbedBatches(HandlesFailures):
    """Adds the columns `embedding`, `model_version` and those of heads to record batches.

    Takes `pa.RecordBatch`es, and `pa.Table`s such as `ReadFromParquetBatched` gives, which it cuts into
    batches of at most 8,192 rows; gives `pa.RecordBatch`es, which travel as Arrow IPC. Rows without a text
    are bad rows; see `HandlesFailures`.

    Args:
        model: a REF, as `s3://bucket/models/minilm@7`, whose version is fixed when the pipeline is built; or
            a side input of one `ModelVersion`, as `beam.pvalue.AsSingleton(versions)`. Versions travel, never
            weights: those are fetched once per machine, verified, memory-mapped, and shared by the threads.
        text: a column (`message`, `user.name`) or a template (`'{merchant} in {city}'`).
        keep: the columns to keep, or None for all.
        vectors: `list` (fixed-size lists) or `binary` (fixed-size bytes, faster to write).
        dtype: of the vectors' elements.
        heads: the heads whose scores are added, by their names; None for all that the model has.

    Raises:
        TemplateError: the template cannot be read.
        MillstreamError: there is no such model; see `Encoder.load`.
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
    ) -> None:
        super().__init__()
        kept = None if keep is None else tuple(dict.fromkeys(keep))
        form = VectorFormat(vectors, dtype)
        self._enrichment = Enrichment(TextTemplate.parse(text), kept, form, chosen_heads(heads))
        self._model = model_of(model)

    def expand(self, batches: Any) -> Any:
        """See the class."""
        coder.register()
        step = beam.ParDo(_EmbedBatches(self._enrichment, self._bad_tag), self._model)
        return self._outputs(batches, step, pa.RecordBatch)


class _EmbedBatches(beam.DoFn):
    def __init__(self, enrichment: Enrichment, bad_tag: str | None) -> None:
        self._enrichment = enrichment
        self._bad_tag = bad_tag
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
                yield good
            for row, error in bad.items():
                yield TaggedOutput(self._bad_tag, failure(fields_of(batch, row), error))
            self._metrics.tell(model.label, batch.num_rows, len(bad), batch.nbytes, seconds)

    def _embed(
        self, batch: pa.RecordBatch, encoder: Encoder, label: str
    ) -> tuple[pa.RecordBatch | None, dict[int, Exception]]:
        """The rows with vectors, or None if there are none, and what is wrong with the others."""
        try:
            enriched = self._enrichment(batch, encoder, label)
        except OF_INPUT as error:  # the columns do not fit
            return None, dict.fromkeys(range(batch.num_rows), error)
        bad: dict[int, Exception] = {row: InputError(reason) for row, reason in enriched.bad.items()}
        return enriched.batch if enriched.batch.num_rows else None, bad
