"""Embeddings for Beam's `MLTransform` and `apache_beam.ml.rag`: the convenient way, element by element."""

from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import RunInference
from apache_beam.ml.transforms.base import EmbeddingsManager, _TextEmbeddingHandler
from numpy.typing import NDArray

from pipelines.beam.transforms.run_inference import LoadedModel, TextModelHandler, encode_all
from pipelines.enrich.model_version import ModelVersion

__all__ = ["MillstreamEmbeddings"]


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
        model: LoadedModel,
        inference_args: dict[str, Any] | None = None,  # noqa: ARG002 - RunInference's signature
    ) -> NDArray[np.float32]:
        """`(n_texts, dim)` float32."""
        return encode_all(batch, model.encoder)

    def __repr__(self) -> str:
        return "MillstreamEmbeddings"
