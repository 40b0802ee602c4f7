"""Enrichment: a record batch in, the batch with its vectors and its bad rows out.

The one place where the encoder meets records. Nothing here knows of Beam, Kafka or files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from encoder import Encoder
from encoder.errors import ConfigurationError
from pipelines.records.template import TextTemplate
from pipelines.vectors import VectorFormat

__all__ = ["ADDED", "Enriched", "Enrichment"]

ADDED = ("embedding", "model_version")
"""The columns that enrichment adds."""


class Enriched(NamedTuple):
    """What became of a batch.

    Attributes:
        batch: the rows that have a text, with the kept columns and the added ones.
        bad: `(n_bad,)` int64, the rows of the input that have none.
    """

    batch: pa.RecordBatch
    bad: NDArray[np.int64]


@dataclass(frozen=True)
class Enrichment:
    """What to do to every batch.

    Attributes:
        template: the text of a record.
        keep: columns of the record to keep, or None for all.
        vectors: how vectors are written.
    """

    template: TextTemplate
    keep: tuple[str, ...] | None = None
    vectors: VectorFormat = field(default_factory=VectorFormat)

    def schema(self, records: pa.Schema, dim: int) -> pa.Schema:
        """The schema of enriched batches.

        Args:
            records: the schema of the batches that come in.
            dim: the model's dimensions.

        Raises:
            ConfigurationError: a kept column is missing, or has the name of an added one.
        """
        kept = [records.field(name) for name in self._kept(records)]
        return pa.schema([*kept, self.vectors.field(dim), pa.field("model_version", _LABEL, nullable=False)])

    def _kept(self, records: pa.Schema) -> Sequence[str]:
        names = records.names if self.keep is None else self.keep
        for name in names:
            if name in ADDED:
                raise ConfigurationError(
                    f"the input has a column {name!r}, which Millstream adds: leave it out with --keep"
                )
            if name not in records.names:
                raise ConfigurationError(f"--keep names {name!r}; the input has {', '.join(records.names)}")
        return names

    def __call__(self, batch: pa.RecordBatch, encoder: Encoder, label: str) -> Enriched:
        """Enrich a batch.

        Args:
            batch: any columns; `template` says which make the text.
            encoder: the model.
            label: what the column `model_version` says.
        """
        texts = self.template.apply(batch)
        bad = np.zeros(0, np.int64)
        if texts.null_count:
            present = texts.is_valid()
            bad = np.flatnonzero(~present.to_numpy(zero_copy_only=False))
            batch, texts = batch.filter(present), pc.drop_null(texts)
        columns = [batch.column(name) for name in self._kept(batch.schema)]
        labels = pa.DictionaryArray.from_arrays(np.zeros(len(texts), np.int32), pa.array([label]))
        embedding = self.vectors.column(encoder.encode(texts))
        schema = self.schema(batch.schema, encoder.dim)
        return Enriched(pa.RecordBatch.from_arrays([*columns, embedding, labels], schema=schema), bad)


_LABEL = pa.dictionary(pa.int32(), pa.string())
