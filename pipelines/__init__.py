"""Records, Beam, Kafka and the command line; the Beam transforms for pipelines of your own.

>>> from pipelines import EmbedBatches  # doctest: +SKIP
>>> vectors = batches | EmbedBatches("s3://bucket/models/minilm@7", text="reason")  # doctest: +SKIP
"""

import importlib
from typing import TYPE_CHECKING, Any

from encoder.errors import MissingExtra

if TYPE_CHECKING:
    from pipelines.beam.transforms.beam_ml import BatchModelHandler, MillstreamEmbeddings, TextModelHandler
    from pipelines.beam.transforms.coder import RecordBatchCoder
    from pipelines.beam.transforms.embed import Embed
    from pipelines.beam.transforms.embed_batches import EmbedBatches
    from pipelines.enrich.model_version import ModelVersion

__all__ = [
    "BatchModelHandler",
    "Embed",
    "EmbedBatches",
    "MillstreamEmbeddings",
    "ModelVersion",
    "RecordBatchCoder",
    "TextModelHandler",
]

_MODULES = {
    "BatchModelHandler": "pipelines.beam.transforms.beam_ml",
    "Embed": "pipelines.beam.transforms.embed",
    "EmbedBatches": "pipelines.beam.transforms.embed_batches",
    "MillstreamEmbeddings": "pipelines.beam.transforms.beam_ml",
    "ModelVersion": "pipelines.enrich.model_version",
    "RecordBatchCoder": "pipelines.beam.transforms.coder",
    "TextModelHandler": "pipelines.beam.transforms.beam_ml",
}


def __getattr__(name: str) -> Any:
    # Beam takes seconds to import and is optional: the encoder and the command line's help do without.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "apache_beam":
            raise
        raise MissingExtra("apache_beam", "beam") from error
