"""`ArrowEmbedder`: embed Arrow tables, in anything that maps them."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from encoder import Encoder
from encoder.arrays.dtypes import Dtype
from encoder.errors import ConfigurationError, InputError, TemplateError
from encoder.store.signing.trust import Trusted
from encoder.threads import default_threads, share_out
from pipelines.dataframes.types import Rows
from pipelines.enrich import Layout
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.bad_rows import good_rows
from pipelines.records.fields import field_names, field_path

__all__ = ["ArrowEmbedder"]

_ROWS = 8192  # of a part of a table, whose vectors fit the processor's cache
_SHOWN = 20  # names of columns in a message


class ArrowEmbedder:
    """Adds the columns `embedding` and `model_version` and the scores of heads to tables and record batches.

    Call it with a `pa.Table` or a `pa.RecordBatch`; it returns the same kind, with the same rows in the same
    order. A row whose text is null has nulls in all added columns. pyarrow writes null lists of a fixed size
    to Parquet and cannot read them (https://github.com/apache/arrow/issues/35692), though other readers can:
    leave such rows out before you write with pyarrow, or use `vectors="binary"`.

    It can be pickled. The version travels, not the weights: each machine downloads and verifies them once,
    and each process loads them once.

    Example:
        >>> embedder = ArrowEmbedder("models/minilm", text="{merchant}: {reason}")
        >>> payments = pa.table({"merchant": ["Nordic Fuel"], "reason": ["card declined at the gate"]})
        >>> embedder(payments).column_names
        ['merchant', 'reason', 'embedding', 'model_version']

    Args:
        model: a REF such as `s3://bucket/models/minilm@7`, whose version is fixed now; or a `ModelVersion`.
        text: a column (`message`, `user.name`) or a template (`'{merchant} in {city}'`).
        keep: the columns to keep, or None for all.
        vectors: the type of `embedding`: `list`, `fixed_size_list<dtype>[dim]`, or `binary`,
            `fixed_size_binary` of the same numbers in little endian.
        dtype: the type of the vectors' elements: `float32`, `float16` or `int8`.
        heads: names of the heads whose scores are added, or None for all that the model has.
        threads: the most threads that embed a table; None for `MILLSTREAM_THREADS`, or all cores that the
            process may use. Engines run many tasks at once, so the default is one.
        trust: the public keys that may sign the version of a REF, as files or PEM texts; by default those of
            `MILLSTREAM_TRUST`. They travel with it, so workers need no file.

    Attributes:
        version: the model's version.

    Raises:
        TemplateError: the template cannot be parsed.
        ConfigurationError: the model lacks a head, or `threads` is no positive number.
        MillstreamError: the model does not exist or cannot be loaded.
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
        threads: int | None = 1,
        trust: Trusted = None,
    ) -> None:
        self._enrichment = Enrichment.parse(text, keep=(), vectors=vectors, dtype=dtype, heads=heads)
        self._keep = None if keep is None else tuple(dict.fromkeys(keep))
        self._threads = default_threads() if threads is None else threads
        if self._threads < 1:
            raise ConfigurationError(f"threads is {threads}: it must be at least 1, or None for all cores")
        self.version = model if isinstance(model, ModelVersion) else ModelVersion.resolve(model, trust=trust)
        self._fields = [
            one.with_nullable(True) for one in self._enrichment.schema(pa.schema([]), self._encoder)
        ]

    @property
    def fields(self) -> list[pa.Field]:
        """The columns that it adds; all may be null."""
        return list(self._fields)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that the text is made of: of each field, what stands before the first dot."""
        return self._enrichment.template.columns

    def reads(self, column: str) -> bool:
        """Whether a column is one of the text's fields, or may have one inside."""
        fields = self._enrichment.template.fields
        return any(field == column or field.startswith(f"{column}.") for field in fields)

    def check_names(self, names: Iterable[str]) -> None:
        """Check that no column has the name of an added one.

        Raises:
            ConfigurationError: one has.
        """
        added = {one.name for one in self._fields}
        if name := next((name for name in names if name in added), None):
            raise ConfigurationError(
                f"there is a column {name!r}, and Millstream adds one of this name: rename it, "
                "or leave it out with `keep`"
            )

    def schema(self, records: pa.Schema) -> pa.Schema:
        """The schema of what it makes of tables with the schema `records`.

        Raises:
            TemplateError: they lack a field of the text.
            ConfigurationError: they lack a column to keep, or one has the name of an added one.
        """
        for name in self._enrichment.template.fields:
            if field_path(records, name) is None:
                raise TemplateError(f"there is no column {name!r}: use one of {_some(field_names(records))}")
        kept = records.names if self._keep is None else self._keep
        if missing := next((name for name in kept if name not in records.names), None):
            raise ConfigurationError(
                f"`keep` names {missing!r}, which is no column: there are {_some(records.names)}"
            )
        self.check_names(kept)
        return pa.schema([*map(records.field, kept), *self._fields], records.metadata)

    def __call__(self, rows: Rows) -> Rows:
        """Embed a table or a record batch.

        Raises:
            TemplateError: it lacks a field of the text.
            ConfigurationError: a column has the name of an added one.
            InputError: the text of a row is not UTF-8, or this is no table.
        """
        if not isinstance(rows, pa.Table | pa.RecordBatch):
            raise InputError(
                f"cannot embed {type(rows).__name__}: give a pyarrow.Table or RecordBatch, as "
                "mappers do that have a format 'pyarrow'"
            )
        schema, encoder = self.schema(rows.schema), self._encoder
        if isinstance(rows, pa.RecordBatch):
            return self._embedded(rows, 0, schema, encoder)
        parts: list[pa.RecordBatch] = rows.to_batches(_ROWS)
        firsts = np.cumsum([0, *map(len, parts)])
        found: list[pa.RecordBatch] = [None] * len(parts)

        def embed(k: int) -> None:
            found[k] = self._embedded(parts[k], int(firsts[k]), schema, encoder)

        share_out(embed, range(len(parts)), self._threads)
        return pa.Table.from_batches(found, schema)

    @property
    def _encoder(self) -> Encoder:
        return self.version.load()

    def _embedded(
        self, batch: pa.RecordBatch, first: int, schema: pa.Schema, encoder: Encoder
    ) -> pa.RecordBatch:
        """A batch with the added columns; `first` is the number of its first row in the table."""
        enriched = self._enrichment(batch, encoder, self.version.label)
        added = enriched.batch.columns
        if enriched.bad:
            texts = self._enrichment.template.apply(batch)
            for row, reason in enriched.bad.items():
                if texts[row].is_valid:
                    raise InputError(f"row {first + row}: {reason}: mend it, or make it null")
            places = np.full(len(batch), -1)
            places[good_rows(len(batch), enriched.bad)] = np.arange(enriched.batch.num_rows)
            added = [column.take(pa.array(places, mask=places < 0)) for column in added]
        kept = [batch.column(name) for name in schema.names[: -len(added)]]
        return pa.RecordBatch.from_arrays([*kept, *added], schema=schema)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown or "none"
