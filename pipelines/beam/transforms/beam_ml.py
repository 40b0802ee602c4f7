"""Adapters for `apache_beam.ml`: model handlers for `RunInference`, embeddings for `MLTransform`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference
from apache_beam.ml.transforms.base import EmbeddingsManager

from encoder import Encoder
from encoder.arrays.dtypes import Dtype
from encoder.errors import InputError
from encoder.store.signing.trust import Trust, Trusted
from pipelines.beam.transforms import coder
from pipelines.beam.transforms.element_texts import apart, encode_texts, is_text, is_text_or_keyed
from pipelines.enrich import Layout
from pipelines.enrich.enrichment import Enriched, Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.template import TextTemplate

__all__ = ["BatchModelHandler", "MillstreamEmbeddings", "TextModelHandler"]

_TEXT = "_millstream_text"  # a column of texts without nulls


@dataclass(frozen=True, eq=False)
class _LoadedModel:
    """A version and its encoder, which `RunInference` shares between the threads of a process."""

    version: ModelVersion
    encoder: Encoder


class _Handler(ModelHandler[Any, Any, _LoadedModel]):
    """Loads the model; with a side input of `ModelMetadata`, `RunInference` replaces it by another REF."""

    def __init__(self, model: str | ModelVersion, *, trust: Trusted = None, **batching: Any) -> None:
        super().__init__(**batching)
        self._model = ModelVersion.resolve(model, trust=trust) if isinstance(model, str) else model
        self._trust = Trust.of(trust) or self._model.trust

    def load_model(self) -> _LoadedModel:
        """Load the model: verified and memory-mapped."""
        return _LoadedModel(self._model, self._model.load())

    def update_model_path(self, model_path: str | None = None) -> None:
        """Use another REF from now on."""
        if model_path:
            self._model = ModelVersion.resolve(model_path, trust=self._trust)

    def get_metrics_namespace(self) -> str:
        """The namespace of `RunInference`'s metrics."""
        return "millstream"


class TextModelHandler(_Handler):
    """Embeds strings; each becomes a `PredictionResult` with a `(dim,)` float32 vector.

    `model_id` is the model's label, such as `minilm@7`. None has a vector of zeros. Any other element fails
    alone, in a batch of its own; `RunInference(…).with_exception_handling()` sends it to its failures. With
    one model for each key, whose batches Beam makes without asking, it fails its batch.

    Args:
        model: a REF, whose version is fixed when the pipeline is built.
        trust: the public keys that may sign versions, as for `EmbedBatches`; also those of `ModelMetadata`.
        batching: options of `ModelHandler`, such as `max_batch_size`, which is 4,096.
    """

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Options of `beam.BatchElements`."""
        return apart(super().batch_elements_kwargs(), is_text_or_keyed)

    def run_inference(
        self,
        batch: Sequence[str | None],
        model: _LoadedModel,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[PredictionResult]:
        """Embed a batch of strings.

        Raises:
            InputError: an element is neither a string of valid Unicode nor None.
        """
        vectors = encode_texts(batch, model.encoder)
        label = model.version.label
        return [PredictionResult(text, vector, label) for text, vector in zip(batch, vectors, strict=True)]

    def get_num_bytes(self, batch: Sequence[str | None]) -> int:
        """The number of characters; Beam's default would pickle the texts to know their size."""
        return sum(len(text) for text in batch if isinstance(text, str))


class BatchModelHandler(_Handler):
    """Embeds record batches in `RunInference`, which does not batch them again.

    A null text has a vector of zeros. A text of invalid Unicode fails its batch, which is one element for
    Beam; `RunInference(…).with_exception_handling()` sends the batch to its failures. `EmbedBatches` sends
    single rows there.

    Args:
        model: a REF, whose version is fixed when the pipeline is built.
        text: a column or a template, as for `EmbedBatches`.
        keep: the columns to keep, or None for all.
        vectors: `list` or `binary`.
        dtype: the type of the vectors' elements.
        heads: names of the heads whose scores are added, or None for all.
        trust: the public keys that may sign versions, as for `TextModelHandler`.
    """

    def __init__(
        self,
        model: str | ModelVersion,
        text: str = "text",
        *,
        keep: Sequence[str] | None = None,
        vectors: Layout = "list",
        dtype: Dtype = "float32",
        heads: Sequence[str] | None = None,
        trust: Trusted = None,
    ) -> None:
        super().__init__(model, trust=trust)
        coder.register()
        self._enrichment = Enrichment.parse(text, keep=keep, vectors=vectors, dtype=dtype, heads=heads)

    def run_inference(
        self,
        batch: pa.RecordBatch,
        model: _LoadedModel,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[pa.RecordBatch]:
        """Embed a record batch.

        Raises:
            InputError: the text of a row is invalid Unicode.
        """
        enriched = self._enrichment(batch, model.encoder, model.version.label)
        if enriched.bad:
            texts = self._enrichment.template.apply(batch)
            for row, reason in enriched.bad.items():
                if texts[row].is_valid:
                    raise InputError(f"row {row} of the batch: {reason}")
            enriched = self._without_nulls(batch, texts, model)
        return [enriched.batch]

    def _without_nulls(self, batch: pa.RecordBatch, texts: pa.Array, model: _LoadedModel) -> Enriched:
        """The batch with its null texts as empty ones."""
        kept = batch.schema.names if self._enrichment.keep is None else self._enrichment.keep
        template = TextTemplate(self._enrichment.template.source, ("", ""), (_TEXT,))
        enrichment = replace(self._enrichment, template=template, keep=tuple(kept))
        filled = batch.append_column(_TEXT, pc.fill_null(texts, ""))
        return enrichment(filled, model.encoder, model.version.label)

    def get_num_bytes(self, batch: pa.RecordBatch) -> int:
        """The size of the batch in memory; Beam's default would pickle it to know."""
        return int(batch.nbytes)

    def should_skip_batching(self) -> bool:
        """True: an element is already a batch."""
        return True


class MillstreamEmbeddings(EmbeddingsManager):
    """Replaces the texts in `columns` by their vectors, like Beam's `SentenceTransformerEmbeddings`.

    None becomes a vector of zeros. An element with another value than a text fails alone;
    `MLTransform(…).with_exception_handling()` sends it to its failures.

    For `apache_beam.ml.rag`, pass `type_adapter=create_text_adapter()` instead of columns: each
    `EmbeddableItem` gets an `embedding`. `MLTransform` stores the version in its artifacts, so later
    pipelines embed with the same one.

    Args:
        model: a REF, whose version is fixed when the transform is created.
        columns: the fields to embed.
        trust: the public keys that may sign the version, as for `EmbedBatches`.
        options: options of `EmbeddingsManager`: `type_adapter`, `min_batch_size`, `max_batch_size`.
    """

    def __init__(
        self,
        model: str | ModelVersion,
        columns: Sequence[str] | None = None,
        *,
        trust: Trusted = None,
        **options: Any,
    ) -> None:
        super().__init__(
            columns=None if columns is None else list(columns),
            **{"max_batch_size": 4096, **options},
        )
        self.version = ModelVersion.resolve(model, trust=trust) if isinstance(model, str) else model

    def get_model_handler(self) -> "Handler":
        """The handler that replaces texts by vectors."""
        return self.Handler(self)

    def get_ptransform_for_processing(self, **_: Any) -> beam.PTransform[Any, Any]:
        """The transform that `MLTransform` applies."""
        return RunInference(self.get_model_handler())

    class Handler(_Handler):
        """Embeds the texts that the type adapter finds in elements, and puts the vectors into them."""

        __module__ = "pipelines"  # the artifacts of `MLTransform` outlive releases, and name this class

        def __init__(self, embeddings: "MillstreamEmbeddings") -> None:
            sizes: dict[str, Any] = {
                "min_batch_size": embeddings.min_batch_size,
                "max_batch_size": embeddings.max_batch_size,
            }
            super().__init__(embeddings.version, **sizes)
            self._adapter = embeddings.type_adapter

        def batch_elements_kwargs(self) -> Mapping[str, Any]:
            """Options of `beam.BatchElements`."""
            return apart(super().batch_elements_kwargs(), self._fits)

        def _fits(self, element: Any) -> bool:
            try:
                return all(map(is_text, self._adapter.input_fn([element])))
            except Exception:  # noqa: BLE001 - whatever the adapter says of it, `run_inference` raises
                return False

        def run_inference(
            self,
            batch: Sequence[Any],
            model: _LoadedModel,
            inference_args: dict[str, Any] | None = None,
        ) -> Sequence[Any]:
            """The elements with their vectors, as lists of floats.

            Raises:
                InputError: a value is neither a string of valid Unicode nor None.
            """
            found: list[Any] = []
            for part, texts in self._texts(batch):
                found += self._adapter.output_fn(part, encode_texts(texts, model.encoder).tolist())
            return found

        def _texts(self, batch: Sequence[Any]) -> Iterable[tuple[Sequence[Any], Sequence[str | None]]]:
            """The texts of all elements together, or of each, where Beam's adapter wants equal fields."""
            try:
                return [(batch, self._adapter.input_fn(batch))] if batch else []
            except Exception:
                if len(batch) == 1:
                    raise
                return [([element], self._adapter.input_fn([element])) for element in batch]

        def __repr__(self) -> str:
            return "MillstreamEmbeddings"
