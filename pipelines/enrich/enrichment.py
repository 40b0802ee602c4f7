"""Enrichment: a record batch in, the batch with its vectors and its bad rows out.

The one place where the encoder meets records. Nothing here knows of Beam, Kafka or files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from encoder import Encoder
from encoder.errors import ConfigurationError
from encoder.heads.scoring import Heads
from encoder.vectors import converted, vectors_for
from pipelines.enrich.columns import VectorFormat, repeated, score_columns, score_fields
from pipelines.formats.messages import Value
from pipelines.records.bad_rows import DeadLetter
from pipelines.records.template import TextTemplate
from pipelines.records.utf8 import not_utf8

__all__ = ["ADDED", "Enriched", "EnrichedBatch", "Enrichment", "chosen_heads"]

ADDED = ("embedding", "model_version")
"""The columns that enrichment adds with any model; those of heads (`columns.py`) stand behind them."""


_SCORED = 1024  # texts whose float32 vectors stay in the cache until they are scored and converted


def chosen_heads(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names of heads as `Enrichment` takes them: each once, sorted; None for all."""
    return None if names is None else tuple(sorted(set(names)))


class Enriched(NamedTuple):
    """What became of a batch.

    Attributes:
        batch: the rows that have a text, with the kept columns and the added ones.
        bad: the rows of the input that have none, and why, rising.
    """

    batch: pa.RecordBatch
    bad: dict[int, str]


@dataclass(frozen=True)
class Enrichment:
    """What to do to every batch.

    Attributes:
        template: the text of a record.
        keep: columns of the record to keep, or None for all.
        vectors: how vectors are written.
        heads: the heads whose scores are added, or None for all that the model has.
    """

    template: TextTemplate
    keep: tuple[str, ...] | None = None
    vectors: VectorFormat = field(default_factory=VectorFormat)
    heads: tuple[str, ...] | None = None

    def schema(self, records: pa.Schema, encoder: Encoder) -> pa.Schema:
        """The schema of enriched batches.

        Args:
            records: the schema of the batches that come in.
            encoder: the model.

        Raises:
            ConfigurationError: a kept column is missing, or has the name of an added one; or the model lacks
                one of the heads.
        """
        scores = score_fields(self._heads(encoder))
        kept = [records.field(name) for name in self._kept(records, scores)]
        label = pa.field("model_version", _LABEL, nullable=False)
        return pa.schema([*kept, self.vectors.field(encoder.dim), label, *scores])

    def accept(self, encoder: Encoder) -> None:
        """Check that this can be done with a model: one that is to take the place of another.

        Raises:
            ConfigurationError: it lacks one of the heads, or adds a column that is kept.
        """
        scores = score_fields(self._heads(encoder))
        self._kept(pa.schema([pa.field(name, pa.null()) for name in self.keep or ()]), scores)

    def _heads(self, encoder: Encoder) -> Heads:
        return encoder.heads if self.heads is None else encoder.heads.only(self.heads)

    def _kept(self, records: pa.Schema, scores: Sequence[pa.Field]) -> Sequence[str]:
        present = records.names
        names = present if self.keep is None else self.keep
        added = {*ADDED, *(one.name for one in scores)}
        for name in names:
            if name in added:
                raise ConfigurationError(
                    f"the input has a column {name!r}, which Millstream adds: leave it out with --keep or "
                    "--fields"
                )
            if names is not present and name not in present:
                raise ConfigurationError(f"--keep names {name!r}; the input has {', '.join(present)}")
        return names

    def __call__(
        self, batch: pa.RecordBatch, encoder: Encoder, label: str, room: NDArray[Any] | None = None
    ) -> Enriched:
        """Enrich a batch.

        Args:
            batch: any columns; `template` says which make the text.
            encoder: the model.
            label: what the column `model_version` says.
            room: `(n, dim)` of the vectors' dtype, as `out` of `Encoder.encode`; the column is a view of it,
                so it may be used again only when the batch is done with.
        """
        texts = self.template.apply(batch)
        bad = _bad_texts(texts, self.template.source)
        if bad:
            good = np.ones(len(texts), bool)
            good[list(bad)] = False
            batch, texts = batch.filter(pa.array(good)), texts.filter(pa.array(good))
        schema = self.schema(batch.schema, encoder)
        vectors, scores = self._scored(texts, encoder, room)
        added = [self.vectors.column(vectors), repeated(label, len(texts)), *scores]
        columns = [*(batch.column(name) for name in schema.names[: -len(added)]), *added]
        return Enriched(pa.RecordBatch.from_arrays(columns, schema=schema), bad)

    def _scored(
        self, texts: pa.Array, encoder: Encoder, room: NDArray[Any] | None
    ) -> tuple[NDArray[Any], list[pa.Array]]:
        """The vectors as they are written, and the heads' columns, which do not depend on how that is."""
        heads, dtype = self._heads(encoder), self.vectors.dtype
        if not len(heads) or dtype == "float32":
            vectors = encoder.encode(texts, dtype=dtype, out=room)
            return vectors, score_columns(heads, vectors)
        found, parts = vectors_for(len(texts), encoder.dim, dtype, room), []
        for first in range(0, max(len(texts), 1), _SCORED):
            vectors = encoder.encode(texts.slice(first, _SCORED))
            converted(vectors, dtype, found[first : first + _SCORED])
            parts.append(score_columns(heads, vectors))
        return found, [pa.concat_arrays(columns) for columns in zip(*parts, strict=True)]


def _bad_texts(texts: pa.Array, source: str) -> dict[int, str]:
    """The rows without a text, and why; a Parquet file may call any bytes text."""
    bad = {}
    if texts.null_count:
        nulls = np.flatnonzero(texts.is_null().to_numpy(zero_copy_only=False))
        bad = dict.fromkeys(nulls.tolist(), f"the text is null: {source}")
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        for row, text in enumerate(pc.fill_null(texts.cast(pa.large_binary()), b"").to_pylist()):
            if reason := not_utf8(text):
                bad[row] = f"the text is {reason}"
    return dict(sorted(bad.items()))


_LABEL = pa.dictionary(pa.int32(), pa.string())


class EnrichedBatch(NamedTuple):
    """What became of a batch of values.

    Attributes:
        rows: `(n_good,)` int64, which of the values have vectors, rising.
        records: `(n_good,)` dictionaries, or None where no output needs them.
        batch: `(n_good,)` the kept columns (none where no output needs them), `embedding`, `model_version`,
            the columns of heads.
        label: of the model.
        letters: the other values, rising.
        values: `(n_good,)` the values as they came, if they begin with the id of a schema.
    """

    rows: Any
    records: list[dict[str, Any]] | None
    batch: pa.RecordBatch
    label: str
    letters: list[DeadLetter]
    values: Sequence[Value] = ()

    @property
    def scores(self) -> list[tuple[str, pa.Array]]:
        """The columns of heads, with their names."""
        pairs = list(zip(self.batch.schema.names, self.batch.columns, strict=True))
        return pairs[self.batch.schema.get_field_index(ADDED[-1]) + 1 :]
