"""Decodes the rows of Arrow messages: as columns, or as Python objects for outputs that need these."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.enrich.enrichment import ADDED
from pipelines.formats.arrow.columns import fit
from pipelines.formats.arrow.rows import ArrowRows
from pipelines.formats.json_left_out import LeftOut
from pipelines.formats.json_objects import not_json
from pipelines.records.bad_rows import good_rows
from pipelines.records.fields import field_at, field_path, join_batches
from pipelines.records.isolation import fault_of, isolate
from pipelines.records.python_values import python_values
from pipelines.records.text import as_text
from pipelines.worker.configuration.columns import kept_columns
from pipelines.worker.configuration.plan import Plan
from pipelines.worker.decode import Decoded, is_label

__all__ = ["ArrowValues", "needed_columns"]


def needed_columns(plan: Plan) -> set[str] | None:
    """The columns of messages that a worker reads; None for all."""
    if plan.fields is None:
        return None
    parts = [name.split(".") for name in plan.template.fields]
    heads = {".".join(part[:length]) for part in parts for length in range(1, len(part) + 1)}
    return {*plan.fields, *heads}


class ArrowValues:
    """Decodes rows.

    Args:
        plan: of the worker.
        schema: the columns of the records, or None if no output needs columns.
    """

    def __init__(self, plan: Plan, schema: pa.Schema | None) -> None:
        self.n_left_out = 0
        self._fields = plan.template.fields
        self._needs_objects = plan.needs_objects
        self._json_fields = plan.fields
        self._writes_json = plan.settings.format == "json"
        self._schema = schema
        self._kept = [] if schema is None else list(kept_columns(plan, schema))
        self._left_out: LeftOut | None = None
        if schema is not None and plan.fields is None:
            self._left_out = LeftOut(schema, f"topic {plan.input_names}")

    def __call__(self, values: ArrowRows) -> Decoded:
        """Decode rows; those that do not fit the columns are bad."""
        decoded = [self._decoded(rows, batch) for rows, batch in _with_rows(values)]
        reasons = dict(values.bad)
        for one in decoded:
            reasons |= one.reasons
        columns = None
        if self._schema is not None and self._kept:
            kept = pa.schema([self._schema.field(name) for name in self._kept])
            columns = join_batches([one.columns for one in decoded if one.columns is not None], kept)
        objects = [record for one in decoded for record in one.records or ()]
        return Decoded(
            np.concatenate([np.zeros(0, np.int64), *(one.rows for one in decoded)]),
            _joined_texts([one.texts for one in decoded], self._fields),
            objects if self._needs_objects else None,
            columns,
            reasons,
        )

    def _decoded(self, rows: Any, batch: pa.RecordBatch) -> Decoded:
        """Rows of one schema."""
        reasons: dict[int, str] = {}
        objects: list[dict[str, Any]] | None = None
        fitted = batch
        if self._schema is not None:
            if self._left_out is not None:
                self.n_left_out += self._left_out.of_columns(_without_ours(batch))
            fitted, places, bad = fit(batch, self._schema)
            reasons |= {int(rows[i]): why for i, why in bad.items()}
            if bad:
                rows, batch = rows[places], batch.take(pa.array(places))
        if self._needs_objects:
            objects, bad = self._objects(_without_ours(batch))
            if bad:
                reasons |= {int(rows[i]): why for i, why in bad.items()}
                places = good_rows(len(rows), bad)
                rows, kept = rows[places], pa.array(places)
                batch, fitted = batch.take(kept), fitted.take(kept)
        columns = fitted.select(self._kept) if self._schema is not None else None
        return Decoded(rows, batch, objects, columns, reasons)

    def _objects(self, batch: pa.RecordBatch) -> tuple[list[dict[str, Any]], dict[int, str]]:
        """Rows as dictionaries, and why some rows cannot be."""
        names = batch.schema.names

        def made(first: int, stop: int) -> list[dict[str, Any]]:
            part = batch.slice(first, stop - first)
            if not names:
                return [{} for _ in range(stop - first)]
            return [dict(zip(names, row, strict=True)) for row in zip(*map(python_values, part), strict=True)]

        done, failed = isolate(batch.num_rows, made)
        bad = {row: fault_of(error) for row, error in failed.items()}
        records = [(first + i, record) for first, part in done for i, record in enumerate(part)]
        if self._writes_json:
            bad |= {row: why for row, one in records if (why := not_json(one, self._json_fields))}
        return [record for row, record in records if row not in bad], bad


def _with_rows(values: ArrowRows) -> Iterator[tuple[Any, pa.RecordBatch]]:
    """The batches, and the records that their rows are."""
    first = 0
    for batch in values.batches:
        yield values.good[first : first + batch.num_rows], batch
        first += batch.num_rows


def _without_ours(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch without the columns that Millstream added to it: its rows are embedded again."""
    names = batch.schema.names
    if not set(ADDED) <= set(names) or batch.column(ADDED[1]).type != pa.string():
        return batch
    if not all(map(is_label, batch.column(ADDED[1]).unique().to_pylist())):
        return batch
    return batch.select([name for name in names if name not in ADDED])


def _joined_texts(batches: Sequence[pa.RecordBatch], fields: Sequence[str]) -> pa.RecordBatch:
    """The columns that the text is made of: as they are in one batch, and as text in several."""
    if len(batches) == 1:
        return batches[0]
    schema = pa.schema([pa.field(name, pa.large_string()) for name in fields])
    return join_batches([_texts(batch, schema) for batch in batches], schema)


def _texts(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for name in schema.names:
        path = field_path(batch.schema, name)
        text = pa.nulls(batch.num_rows) if path is None else as_text(field_at(batch, path))
        columns.append(text.cast(pa.large_string()))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
