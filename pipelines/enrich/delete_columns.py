"""Deletes among records: the columns `message_key` and `deleted`.

A delete is a message with a key and a null value, as compacted topics and change data capture have them. An
output with columns holds it as a row: its key, `deleted`, and null in all other columns. Rows of records have
their message's key in `message_key`, so that a reader knows what a delete is about.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from numpy.typing import NDArray

from encoder import Encoder
from encoder.errors import ConfigurationError
from pipelines.enrich.enrichment import Enriched, Enrichment
from pipelines.records.bad_rows import good_rows

__all__ = [
    "DELETED",
    "DELETE_COLUMNS",
    "MESSAGE_KEY",
    "check_names",
    "enriched_with_deletes",
    "schema_with_deletes",
    "with_deletes",
]

MESSAGE_KEY, DELETED = "message_key", "deleted"
DELETE_COLUMNS = (pa.field(MESSAGE_KEY, pa.binary()), pa.field(DELETED, pa.bool_(), nullable=False))


def check_names(names: Sequence[str], flag: str) -> None:
    """Check that no column of the records has the name of one of these columns.

    Raises:
        ConfigurationError: one has; the message names the flag that leaves it out.
    """
    for field in DELETE_COLUMNS:
        if field.name in names:
            raise ConfigurationError(
                f"the input has a field {field.name!r}, and --delete-columns adds one of this name: leave it "
                f"out with {flag}"
            )


def schema_with_deletes(schema: pa.Schema) -> pa.Schema:
    """A schema of enriched records with the columns of deletes; all others may be null.

    Vectors are lists of any size, because Arrow writes null lists of a fixed size to Parquet and cannot read
    them (https://github.com/apache/arrow/issues/35692).
    """
    return pa.schema([*(_nullable(field) for field in schema), *DELETE_COLUMNS], schema.metadata)


def _nullable(field: pa.Field) -> pa.Field:
    kind = field.type
    if pt.is_struct(kind):
        kind = pa.struct([_nullable(inner) for inner in kind])
    elif pt.is_list(kind) or pt.is_fixed_size_list(kind):
        kind = pa.list_(_nullable(kind.value_field))
    return pa.field(field.name, kind, nullable=True, metadata=field.metadata)


def with_deletes(batch: pa.RecordBatch, live: NDArray[np.bool_], keys: pa.Array) -> pa.RecordBatch:
    """Put rows of deletes between those of records.

    Args:
        batch: `(n_live,)` enriched records.
        live: `(n,)` bool, which rows are records; the others are deletes.
        keys: `(n,)` binary, the messages' keys.

    Returns:
        `(n,)` rows with the columns `message_key` and `deleted`.
    """
    schema = schema_with_deletes(batch.schema)
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(batch.columns, schema, strict=False)
    ]
    if batch.num_rows < len(live):
        rows = pa.array(np.cumsum(live) - 1, mask=~live)
        columns = [column.take(rows) for column in columns]
    return pa.RecordBatch.from_arrays([*columns, keys, pa.array(~live)], schema=schema)


def enriched_with_deletes(
    enrichment: Enrichment, batch: pa.RecordBatch, encoder: Encoder, label: str
) -> Enriched:
    """Enrich records with deletes among them.

    Args:
        enrichment: how to enrich the records.
        batch: records with the columns `message_key` and `deleted`.
        encoder: the model.
        label: the value of the column `model_version`.
    """
    live = pc.invert(batch[DELETED])
    found = enrichment(batch.filter(live), encoder, label)
    mask = live.to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(mask)
    bad = {int(rows[row]): reason for row, reason in found.bad.items()}
    kept = good_rows(len(mask), bad)
    keys = batch[MESSAGE_KEY].take(pa.array(kept))
    return Enriched(with_deletes(found.batch, mask[kept], keys), bad)
