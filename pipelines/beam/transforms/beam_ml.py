"""Adapters for `apache_beam.ml`: model handlers for `RunInference`, embeddings for `MLTransform`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference
from apache_beam.ml.transforms.base import EmbeddingsManager, _TextEmbeddingHandler
from numpy.typing import NDArray

from encoder import Encoder
from encoder.dtypes import Dtype
from encoder.errors import InputError
from pipelines.beam.transforms import coder
from pipelines.enrich import Layout
from pipelines.enrich.columns import VectorFormat
from pipelines.enrich.enrichment import Enrichment, chosen_heads
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.template import TextTemplate

__all__ = ["BatchModelHandler", "MillstreamEmbeddings", "TextModelHandler"]


@dataclass(frozen=True, eq=False)
class _LoadedModel:
    """A version and its encoder; what `RunInference` shares between the threads of a process."""

    version: ModelVersion
    encoder: Encoder


class _Handler(ModelHandler[Any, Any, _LoadedModel]):
    """Loads versions; `RunInference` with a side input of `ModelMetadata` changes them by their REFs."""

    def __init__(self, model: str | ModelVersion, **batching: Any) -> None:
        super().__init__(**batching)
        self._model = ModelVersion.resolve(model) if isinstance(model, str) else model

    def load_model(self) -> _LoadedModel:
        """The model, verified and memory-mapped."""
        return _LoadedModel(self._model, self._model.load())

    def update_model_path(self, model_path: str | None = None) -> None:
        """Change to another REF, which a side input names."""
        if model_path:
            self._model = ModelVersion.resolve(model_path)

    def get_metrics_namespace(self) -> str:
        """The namespace of `RunInference`'s own metrics."""
        return "millstream"


class TextModelHandler(_Handler):
    """Embeds strings: each gives a `PredictionResult` with its `(dim,)` float32 vector.

    `model_id` is the model's label, as `minilm@7`.

    Args:
        model: a REF, whose version is fixed when the pipeline is built.
        batching: of `ModelHandler`, as `min_batch_size` and `max_batch_size`.
    """

    def __init__(self, model: str | ModelVersion, **batching: Any) -> None:
        super().__init__(model, **{"min_batch_size": 64, "max_batch_size": 4096, **batching})

    def run_inference(
        self,
        batch: Sequence[str],
        model: _LoadedModel,
        inference_args: dict[str, Any] | None = None,  # noqa: ARG002 - RunInference's signature
    ) -> Iterable[PredictionResult]:
        """See the class.

        Raises:
            InputError: an element is no string.
        """
        vectors = _encode(batch, model.encoder)
        label = model.version.label
        return [PredictionResult(text, vector, label) for text, vector in zip(batch, vectors, strict=True)]

    def get_num_bytes(self, batch: Sequence[str]) -> int:
        """The characters of the texts; by default Beam would pickle them to know."""
        return sum(map(len, batch))


class BatchModelHandler(_Handler):
    """Embeds record batches, as `EmbedBatches` does; `RunInference` does not batch them again.

    A bad row fails its batch; with `RunInference(…).with_exception_handling()` the batch is handed on.

    Args:
        model: a REF, whose version is fixed when the pipeline is built.
        text: column to embed, or a template.
        keep: columns to keep; None keeps all.
        vectors: `list`, or `binary` for fixed-size bytes.
        dtype: of the vectors' elements.
        heads: names of the heads whose scores are added; None adds all.
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
    ) -> None:
        super().__init__(model)
        coder.register()
        kept = None if keep is None else tuple(dict.fromkeys(keep))
        form = VectorFormat(vectors, dtype)
        self._enrichment = Enrichment(TextTemplate.parse(text), kept, form, chosen_heads(heads))

    def run_inference(
        self,
        batch: pa.RecordBatch,
        model: _LoadedModel,
        inference_args: dict[str, Any] | None = None,  # noqa: ARG002 - RunInference's signature
    ) -> Iterable[pa.RecordBatch]:
        """See the class.

        Raises:
            InputError: a row has no text.
        """
        enriched = self._enrichment(batch, model.encoder, model.version.label)
        for row, reason in enriched.bad.items():
            raise InputError(f"row {row} of the batch: {reason}")
        return [enriched.batch]

    def get_num_bytes(self, batch: pa.RecordBatch) -> int:
        """The size of the batch in memory; by default Beam would pickle it to know."""
        return int(batch.nbytes)

    def should_skip_batching(self) -> bool:
        """An element is a batch already."""
        return True


class MillstreamEmbeddings(EmbeddingsManager):
    """Puts vectors in the place of the texts of `columns`, as `SentenceTransformerEmbeddings` does.

    For `apache_beam.ml.rag`, give `type_adapter=create_text_adapter()` instead of columns: an
    `EmbeddableItem` gets its `embedding`. The artifact folder of `MLTransform` remembers the version, so that
    later pipelines embed with the same one.

    Args:
        model: a REF, whose version is fixed when the transform is made.
        columns: the fields to embed.
        options: of `EmbeddingsManager`: `type_adapter`, `min_batch_size`, `max_batch_size`.
    """

    __module__ = "pipelines"  # artifacts outlive releases: they name the class by its public place

    def __init__(
        self, model: str | ModelVersion, columns: Sequence[str] | None = None, **options: Any
    ) -> None:
        super().__init__(
            columns=None if columns is None else list(columns),
            **{"min_batch_size": 64, "max_batch_size": 4096, **options},
        )
        self.version = ModelVersion.resolve(model) if isinstance(model, str) else model

    def get_model_handler(self) -> "_VectorHandler":
        """The handler below."""
        return _VectorHandler(
            self.version, min_batch_size=self.min_batch_size, max_batch_size=self.max_batch_size
        )

    def get_ptransform_for_processing(self, **_: Any) -> beam.PTransform[Any, Any]:
        """What `MLTransform` applies."""
        return RunInference(_TextEmbeddingHandler(self))


class _VectorHandler(TextModelHandler):
    """Gives vectors alone, as `EmbeddingsManager` needs them."""

    def run_inference(
        self,
        batch: Sequence[str],
        model: _LoadedModel,
        inference_args: dict[str, Any] | None = None,  # noqa: ARG002 - RunInference's signature
    ) -> NDArray[np.float32]:
        """`(n_texts, dim)` float32."""
        return _encode(batch, model.encoder)

    def __repr__(self) -> str:
        return "MillstreamEmbeddings"


def _encode(texts: Sequence[str], encoder: Encoder) -> NDArray[np.float32]:
    """`(n_texts, dim)` float32.

    Raises:
        InputError: an element is no string.
    """
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"element {row} of the batch is {type(text).__name__}: give strings")
    return encoder.encode(pa.array(texts, pa.string()))
