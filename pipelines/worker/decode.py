"""Messages become records with vectors: decoding and enrichment of one batch, without any I/O."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from encoder.errors import ConfigurationError
from pipelines.enrich.enrichment import ADDED, EnrichedBatch, Enrichment
from pipelines.enrich.model_follower import FollowedModel
from pipelines.formats import PlainFormat
from pipelines.formats.json import JsonDecoder
from pipelines.formats.messages import (
    Value,
    columns_seen,
    decode_columns,
    decode_objects,
    text_columns,
)
from pipelines.formats.schema_registry import FieldTypes
from pipelines.records.bad_rows import DeadLetter
from pipelines.worker.plan import Plan
from pipelines.worker.telemetry.tracing import OFF, Spans

__all__ = ["RecordMaker", "fields_seen", "kept_columns", "output_schema"]


class RecordMaker:
    """Makes records.

    Args:
        plan: of the worker.
        schema: the columns of the records, where an output needs columns; see `output_schema`.
        spans: for tracing.
    """

    def __init__(self, plan: Plan, schema: pa.Schema | None, spans: Spans = OFF) -> None:
        self._spans = spans
        self._template = plan.template
        self._kind: PlainFormat = "text" if plan.settings.input_format == "text" else "json"
        self._needs_objects = plan.needs_objects
        self._schema = schema
        self._decoder = (
            JsonDecoder(f"topic {plan.input_names}", schema)
            if schema is not None and self._kind == "json"
            else None
        )
        kept = () if schema is None else kept_columns(plan, schema)
        self._enrichment = Enrichment(self._template, kept, plan.vectors, plan.heads)
        self.accept = self._enrichment.accept
        self._n_before = 0

    def __call__(self, values: Sequence[Value], model: FollowedModel) -> EnrichedBatch:
        """Decode and enrich values."""
        began = time.time_ns()
        records: list[dict[str, Any]] | None = None
        reasons: dict[int, str] = {}
        rows = np.arange(len(values))
        if self._schema is not None:
            batch, good, reasons = decode_columns(values, self._kind, self._schema, self._decoder)
            rows = np.array(good, np.int64)
        if self._needs_objects or self._schema is None:
            wanted = values if len(rows) == len(values) else [values[row] for row in rows.tolist()]
            records, good, more = decode_objects(wanted, self._kind)
            reasons |= {int(rows[row]): reason for row, reason in more.items()}
            if self._schema is not None and more:
                batch = batch.take(pa.array(good))
            rows = rows[good]
        if self._schema is None:
            batch = text_columns(records or [], self._template.fields)
        letters = [DeadLetter(row, "VALUE_CONVERTER", reason) for row, reason in reasons.items()]
        self._spans.passed("decode", began)
        with self._spans.step("encode"):
            enriched = self._enrichment(batch, model.encoder, model.label)
        if enriched.bad:
            letters += [DeadLetter(int(rows[i]), "TRANSFORMATION", why) for i, why in enriched.bad.items()]
            kept = np.setdiff1d(np.arange(len(rows)), list(enriched.bad))
            records = None if records is None else [records[i] for i in kept.tolist()]
            rows = rows[kept]
        return EnrichedBatch(rows, records, enriched.batch, model.label, sorted(letters))


def kept_columns(plan: Plan, schema: pa.Schema) -> tuple[str, ...]:
    """The columns that go on: not those for the text only, and not those that would clash with added ones."""
    wanted = schema.names if plan.fields is None else plan.fields
    return tuple(name for name in schema.names if name in wanted and name not in ADDED)


def output_schema(plan: Plan, seen: FieldTypes) -> pa.Schema:
    """The columns of the records: those that were seen, with the types that are set.

    Args:
        plan: of the worker.
        seen: the fields of the input; see `fields_seen`.

    Raises:
        ConfigurationError: a field was not seen and has no type, or no column can hold it.
    """
    types: FieldTypes = seen | {name: _type(name, kind) for name, kind in plan.types.items()}
    names = [name for name in types if name not in ADDED] if plan.fields is None else list(plan.fields)
    if not plan.uses_registry:  # the text is made of the columns
        columns = plan.template.columns
        names += [name for name in columns if name in types and name not in names]
    return pa.schema([pa.field(name, _column(name, types)) for name in names])


def fields_seen(plan: Plan, sample: Sequence[Value]) -> FieldTypes:
    """The fields of a sample of JSON or text."""
    kind: PlainFormat = "text" if plan.settings.input_format == "text" else "json"
    return {field.name: field.type for field in columns_seen(sample, kind)}


def _column(name: str, types: FieldTypes) -> pa.DataType:
    kind = types.get(name)
    if kind is None:
        raise ConfigurationError(
            f"no record of the sample has the field {name!r}: give its type, as in --fields {name}:string"
        )
    if isinstance(kind, str):
        raise ConfigurationError(
            f"the field {name!r} is {kind}, which no column holds: leave it out with --fields"
        )
    return kind


def _type(name: str, kind: str) -> pa.DataType:
    try:
        return pa.type_for_alias(kind)
    except ValueError as error:
        raise ConfigurationError(
            f"the field {name!r} has the unknown type {kind!r}: use int64, float64, string, bool, …"
        ) from error
