"""Messages become records with vectors: decoding and enrichment of one batch, without any I/O."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from encoder.errors import ConfigurationError
from pipelines.enrich import ADDED, Enrichment
from pipelines.follow import FollowedModel
from pipelines.kafka.letters import Letter
from pipelines.kafka.settings import WorkerSettings
from pipelines.kafka.tracing import OFF, Spans
from pipelines.records.json_lines import JsonDecoder
from pipelines.records.template import TextTemplate
from pipelines.records.values import Value, columns_seen, decode_columns, decode_objects, text_columns

__all__ = ["Made", "RecordMaker", "output_schema"]


class Made(NamedTuple):
    """What became of a batch of values.

    Attributes:
        rows: `(n_good,)` int64, which of the values have vectors, rising.
        records: `(n_good,)` dictionaries, or None where no output needs them.
        batch: `(n_good,)` the kept columns (none where no output needs them), `embedding`, `model_version`.
        label: of the model.
        letters: the other values, rising.
    """

    rows: Any
    records: list[dict[str, Any]] | None
    batch: pa.RecordBatch
    label: str
    letters: list[Letter]


class RecordMaker:
    """Makes records.

    Args:
        settings: of the worker.
        schema: the columns of the records, where an output needs columns; see `output_schema`.
        spans: for tracing.
    """

    def __init__(self, settings: WorkerSettings, schema: pa.Schema | None, spans: Spans = OFF) -> None:
        self._spans = spans
        self._template = TextTemplate.parse(settings.text)
        self._kind = settings.input_format
        self._needs_objects = settings.needs_objects
        self._schema = schema
        self._decoder = (
            JsonDecoder(f"topic {settings.input}", schema)
            if schema is not None and self._kind == "json"
            else None
        )
        kept = () if schema is None else tuple(n for n in schema.names if n not in _unkept(settings, schema))
        self._enrichment = Enrichment(self._template, kept, settings.vectors)
        self._n_before = 0

    def __call__(self, values: Sequence[Value], model: FollowedModel) -> Made:
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
        letters = [Letter(row, "VALUE_CONVERTER", reason) for row, reason in reasons.items()]
        self._spans.passed("decode", began)
        with self._spans.step("encode"):
            enriched = self._enrichment(batch, model.encoder, model.label)
        if enriched.bad:
            letters += [Letter(int(rows[i]), "TRANSFORMATION", why) for i, why in enriched.bad.items()]
            kept = np.setdiff1d(np.arange(len(rows)), list(enriched.bad))
            records = None if records is None else [records[i] for i in kept.tolist()]
            rows = rows[kept]
        return Made(rows, records, enriched.batch, model.label, sorted(letters))


def _unkept(settings: WorkerSettings, schema: pa.Schema) -> set[str]:
    """Columns that are there for the text only, or that would clash with the added ones."""
    if settings.fields is None:
        return set(ADDED)
    return set(schema.names) - set(settings.fields)


def output_schema(settings: WorkerSettings, sample: Sequence[Value]) -> pa.Schema:
    """The columns of the records: those of a sample, with the types that are set.

    Raises:
        ConfigurationError: a field is in no record of the sample and has no type.
    """
    seen = columns_seen(sample, settings.input_format)
    fields = {field.name: field for field in seen}
    for name, kind in settings.types.items():
        fields[name] = pa.field(name, _type(name, kind))
    if settings.fields is None:
        names = [name for name in fields if name not in ADDED]
    else:
        names = list(settings.fields)
    columns = TextTemplate.parse(settings.text).columns
    names += [name for name in columns if name in fields and name not in names]
    if missing := [name for name in names if name not in fields]:
        raise ConfigurationError(
            f"no record of the sample has the field {missing[0]!r}: give its type, "
            f"as in --fields {missing[0]}:string"
        )
    return pa.schema([fields[name] for name in names])


def _type(name: str, kind: str) -> pa.DataType:
    try:
        return pa.type_for_alias(kind)
    except ValueError as error:
        raise ConfigurationError(
            f"the field {name!r} has the unknown type {kind!r}: use int64, float64, string, bool, …"
        ) from error
