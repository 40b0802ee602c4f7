"""Enrichment: a record batch in; the batch with vectors, and its bad rows, out.

This is the one place where the encoder meets records. It knows nothing of Beam, Kafka or files.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from encoder import Encoder
from encoder.arrays.dtypes import Dtype
from encoder.arrays.vectors import converted, vectors_for
from encoder.errors import ConfigurationError
from encoder.heads.scoring import Heads
from encoder.masks import Masks
from pipelines.enrich import Layout
from pipelines.enrich.columns import VectorFormat, repeated, score_columns, score_fields
from pipelines.enrich.condition import Condition
from pipelines.formats.messages import Value
from pipelines.records.bad_rows import DeadLetter
from pipelines.records.fields import join_batches
from pipelines.records.isolation import fault_of, isolate
from pipelines.records.masked_fields import MaskedFields
from pipelines.records.template import TextTemplate
from pipelines.records.utf8 import not_utf8

__all__ = ["ADDED", "Enriched", "EnrichedBatch", "Enrichment", "bad_texts"]

ADDED = ("embedding", "model_version")
"""The columns that every model adds; the columns of heads (`columns.py`) follow them."""


_VERSION = pa.field("model_version", pa.dictionary(pa.int32(), pa.string()), nullable=False)
_SCORED = 1024  # texts whose float32 vectors stay in the CPU's cache until they are scored and converted


class Enriched(NamedTuple):
    """An enriched batch.

    Attributes:
        batch: the rows that have a text, with the kept and the added columns.
        bad: the rows of the input without a text, in order, and why.
    """

    batch: pa.RecordBatch
    bad: dict[int, str]


@dataclass(frozen=True)
class Enrichment:
    """How to enrich batches.

    Attributes:
        template: the text of a record.
        keep: columns of the records to keep, or None for all.
        vectors: how vectors are written.
        heads: the heads whose scores are added, or None for all of the model.
        mask_fields: fields of the records that are masked in the output.
        masks: the masks that a model must have, or None for any.
        conditions: on the columns that a model adds, which must have them.
    """

    template: TextTemplate
    keep: tuple[str, ...] | None = None
    vectors: VectorFormat = field(default_factory=VectorFormat)
    heads: tuple[str, ...] | None = None
    mask_fields: tuple[str, ...] = ()
    masks: Masks | None = None
    conditions: tuple[Condition, ...] = ()

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        keep: Sequence[str] | None = None,
        vectors: Layout = "list",
        dtype: Dtype = "float32",
        heads: Sequence[str] | None = None,
        mask_fields: Sequence[str] = (),
        masks: str | Iterable[str] | None = None,
    ) -> Self:
        """Make one of plain values.

        Args:
            text: a column or a template.
            keep: names of columns to keep, or None for all.
            vectors: the layout of vectors.
            dtype: the type of their elements.
            heads: names of heads, or None for all.
            mask_fields: names of fields to mask in the output.
            masks: the masks that the model must have, as for `Masks.parse`, or None for any.

        Raises:
            TemplateError: the template cannot be parsed.
            ConfigurationError: a mask cannot be used.
        """
        return cls(
            TextTemplate.parse(text),
            None if keep is None else tuple(dict.fromkeys(keep)),
            VectorFormat(vectors, dtype),
            None if heads is None else tuple(sorted(set(heads))),
            tuple(dict.fromkeys(mask_fields)),
            None if masks is None else Masks.parse(masks),
        )

    def schema(self, records: pa.Schema, encoder: Encoder) -> pa.Schema:
        """The schema of enriched batches.

        Args:
            records: the schema of the input batches.
            encoder: the model.

        Raises:
            ConfigurationError: a kept column is missing, or has the name of an added one; the model lacks a
                head, or has other masks; or a field to mask is missing or holds no text.
        """
        self._check_masks(encoder)
        if masked := self.masked(encoder):
            masked.check(records)
        scores = score_fields(self._heads(encoder))
        kept = [records.field(name) for name in self._kept(records, scores)]
        return pa.schema([*kept, self.vectors.field(encoder.dim), _VERSION, *scores])

    def accept(self, encoder: Encoder) -> None:
        """Check that a model can replace the current one.

        Raises:
            ConfigurationError: it lacks a head, adds a column that is kept, has other masks, or does not add
                what a condition asks for.
        """
        self._check_masks(encoder)
        scores = score_fields(self._heads(encoder))
        added = pa.schema([_VERSION, *scores])
        for condition in self.conditions:
            condition.check(added)
        self._kept(pa.schema([pa.field(name, pa.null()) for name in self.keep or ()]), scores)

    def settled(self, encoder: Encoder) -> Self:
        """The same, for models that have this one's masks; any masks if nothing is said of them.

        Raises:
            ConfigurationError: it has other masks than it must have.
        """
        if self.masks is None and not self.mask_fields:
            return self
        self._check_masks(encoder)
        return replace(self, masks=encoder.masks)

    def masked(self, encoder: Encoder | None = None) -> MaskedFields | None:
        """What masks fields and dead letters; None if no field is masked.

        Args:
            encoder: the model; needed unless this is `settled`.
        """
        if not self.mask_fields:
            return None
        masks = self.masks if encoder is None else encoder.masks
        return None if masks is None else MaskedFields(self.mask_fields, masks)

    def _check_masks(self, encoder: Encoder) -> None:
        if self.masks is not None and encoder.masks != self.masks:
            raise ConfigurationError(
                f"the model's masks are {encoder.masks}, and this job asks for {self.masks}: publish "
                "a version with these masks, or leave `mask` out here"
            )
        if self.mask_fields and not encoder.masks:
            raise ConfigurationError(
                "`mask_fields` masks with the model's masks, and it has none: publish a version with `mask`"
            )

    def _heads(self, encoder: Encoder) -> Heads:
        return encoder.heads if self.heads is None else encoder.heads.only(self.heads)

    def _kept(self, records: pa.Schema, scores: Sequence[pa.Field]) -> Sequence[str]:
        present = records.names
        names = present if self.keep is None else self.keep
        added = {*ADDED, *(one.name for one in scores)}
        for name in names:
            if name in added:
                raise ConfigurationError(
                    f"the input has a column {name!r}, and Millstream adds one of this name: leave it out "
                    "with --keep or --fields"
                )
            if names is not present and name not in present:
                raise ConfigurationError(f"--keep names {name!r}; the input has {', '.join(present)}")
        return names

    def __call__(
        self, batch: pa.RecordBatch, encoder: Encoder, label: str, room: NDArray[Any] | None = None
    ) -> Enriched:
        """Enrich a batch; a row that cannot be enriched, whatever raises, is bad.

        Args:
            batch: records with any columns.
            encoder: the model.
            label: the value of the column `model_version`.
            room: `(n, dim)` of the vectors' dtype, as `out` of `Encoder.encode`. The column is a view of it,
                so reuse it only when you are done with the batch.
        """

        def enriched(first: int, stop: int) -> Enriched:
            whole = stop - first == batch.num_rows
            rows = batch if whole else batch.slice(first, stop - first)
            return self._enriched(rows, encoder, label, room if whole else None)

        done, failed = isolate(batch.num_rows, enriched)
        if len(done) == 1 and not failed:
            return done[0][1]
        schema = self.schema(batch.schema, encoder)
        bad = {row: fault_of(error) for row, error in failed.items()}
        bad |= {first + row: reason for first, part in done for row, reason in part.bad.items()}
        return Enriched(join_batches([part.batch for _, part in done], schema), dict(sorted(bad.items())))

    def _enriched(
        self, batch: pa.RecordBatch, encoder: Encoder, label: str, room: NDArray[Any] | None
    ) -> Enriched:
        texts = self.template.apply(batch)
        bad = bad_texts(texts, self.template.source)
        if bad:
            good = np.ones(len(texts), bool)
            good[list(bad)] = False
            batch, texts = batch.filter(pa.array(good)), texts.filter(pa.array(good))
        if masked := self.masked(encoder):
            batch = masked.batch(batch)
        schema = self.schema(batch.schema, encoder)
        vectors, scores = self._scored(texts, encoder, room)
        added = [self.vectors.column(vectors), repeated(label, len(texts)), *scores]
        columns = [*(batch.column(name) for name in schema.names[: -len(added)]), *added]
        return Enriched(pa.RecordBatch.from_arrays(columns, schema=schema), bad)

    def _scored(
        self, texts: pa.Array, encoder: Encoder, room: NDArray[Any] | None
    ) -> tuple[NDArray[Any], list[pa.Array]]:
        """The vectors as they are written, and the columns of heads, which are made from float32 vectors."""
        heads, dtype = self._heads(encoder), self.vectors.dtype
        masked = heads.read_texts
        if masked:  # once for the encoder and the heads
            texts = encoder.masks(texts)
        if not len(heads) or dtype == "float32":
            vectors = encoder.encode(texts, dtype=dtype, out=room, masked=masked)
            return vectors, score_columns(heads, vectors, texts)
        found, parts = vectors_for(len(texts), encoder.dim, dtype, room), []
        for first in range(0, max(len(texts), 1), _SCORED):
            some = texts.slice(first, _SCORED)
            vectors = encoder.encode(some, masked=masked)
            converted(vectors, dtype, found[first : first + _SCORED])
            parts.append(score_columns(heads, vectors, some))
        return found, [pa.concat_arrays(columns) for columns in zip(*parts, strict=True)]


def bad_texts(texts: pa.Array, source: str) -> dict[int, str]:
    """The rows without a valid text, and why; a Parquet file may declare any bytes as text."""
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


class EnrichedBatch(NamedTuple):
    """A batch of message values, enriched.

    Attributes:
        rows: `(n_good,)` int64, ascending: the values that have vectors.
        records: `(n_good,)` dictionaries, or None if no output needs them.
        batch: `(n_good,)` rows with the kept columns (if an output needs columns), `embedding`,
            `model_version` and the columns of heads.
        label: of the model.
        letters: dead letters for the other values, in order.
        values: `(n_good,)` the values as they came, if they begin with the id of a schema.
        deletes: the values that are deletes, ascending.
        texts: `(n_good,)` rows with the columns that the text template reads, if they are known.
    """

    rows: Any
    records: list[dict[str, Any]] | None
    batch: pa.RecordBatch
    label: str
    letters: list[DeadLetter]
    values: Sequence[Value] = ()
    deletes: Sequence[int] = ()
    texts: pa.RecordBatch | None = None

    def take(self, kept: NDArray[np.int64]) -> Self:
        """Only the good values at these positions among them; letters and deletes stay."""
        places = kept.tolist()
        return self._replace(
            rows=self.rows[kept],
            records=None if self.records is None else [self.records[i] for i in places],
            batch=self.batch.take(pa.array(kept)),
            values=[self.values[i] for i in places] if self.values else (),
            texts=None if self.texts is None else self.texts.take(pa.array(kept)),
        )

    @property
    def scores(self) -> list[tuple[str, pa.Array]]:
        """The columns of heads and their names."""
        pairs = list(zip(self.batch.schema.names, self.batch.columns, strict=True))
        return pairs[self.batch.schema.get_field_index(ADDED[-1]) + 1 :]
