"""Records in, records with vectors and scores out: transforms for your own Beam pipelines.

>>> import apache_beam as beam
>>> from pipelines import Embed
>>> with beam.Pipeline(runner="FnApiRunner") as pipeline:
...     records = pipeline | beam.Create([{"id": 1, "reason": "card declined at the gate"}])
...     embedded = records | Embed("models/minilm", text="reason")
...     _ = embedded | beam.Map(lambda record: print(record["id"], len(record["embedding"])))
1 256

`models/minilm` is a folder that `millstream distill` wrote; a version in a store works too, such as
`s3://bucket/models/minilm@7`. `EmbedBatches` is the fast way: it embeds Arrow record batches.

The command line is `millstream backfill`, `millstream stream` and `millstream worker`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from encoder.errors import MissingExtra

if TYPE_CHECKING:
    from pipelines.beam.transforms.beam_ml import BatchModelHandler, MillstreamEmbeddings, TextModelHandler
    from pipelines.beam.transforms.coder import RecordBatchCoder
    from pipelines.beam.transforms.embed import Embed
    from pipelines.beam.transforms.embed_batches import EmbedBatches
    from pipelines.beam.transforms.rag import ToItems
    from pipelines.dataframes.arrow import ArrowEmbedder
    from pipelines.enrich.model_version import ModelVersion

__all__ = [
    "ArrowEmbedder",
    "BatchModelHandler",
    "Embed",
    "EmbedBatches",
    "MillstreamEmbeddings",
    "ModelVersion",
    "RecordBatchCoder",
    "TextModelHandler",
    "ToItems",
]

_MODULES = {
    "ArrowEmbedder": "pipelines.dataframes.arrow",
    "BatchModelHandler": "pipelines.beam.transforms.beam_ml",
    "Embed": "pipelines.beam.transforms.embed",
    "EmbedBatches": "pipelines.beam.transforms.embed_batches",
    "MillstreamEmbeddings": "pipelines.beam.transforms.beam_ml",
    "ModelVersion": "pipelines.enrich.model_version",
    "RecordBatchCoder": "pipelines.beam.transforms.coder",
    "TextModelHandler": "pipelines.beam.transforms.beam_ml",
    "ToItems": "pipelines.beam.transforms.rag",
}


def __getattr__(name: str) -> Any:
    # Beam is optional and takes seconds to import; the command line's help does not need it.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "apache_beam":
            raise
        raise MissingExtra("apache_beam", "beam") from error
