"""From message values to records with vectors, one batch at a time and without I/O of its own."""

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat
from operator import contains
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.enrich.enrichment import ADDED, EnrichedBatch, Enrichment
from pipelines.enrich.model_follower import FollowedModel
from pipelines.formats.arrow.rows import ArrowRows
from pipelines.formats.json import JsonDecoder
from pipelines.formats.json_left_out import LeftOut
from pipelines.formats.json_objects import not_json
from pipelines.formats.messages import (
    Value,
    decode_columns,
    decode_objects,
    json_columns,
    object_columns,
    text_columns,
)
from pipelines.formats.schema_registry import FramedDecoder
from pipelines.records.bad_rows import DeadLetter, good_rows
from pipelines.records.fields import field_path
from pipelines.records.isolation import step
from pipelines.records.masked_fields import MaskedFields
from pipelines.worker.configuration.columns import kept_columns
from pipelines.worker.configuration.plan import Plan
from pipelines.worker.telemetry.tracing import OFF, Spans
from pipelines.worker.unpack import Values

__all__ = ["Decoded", "PlainValues", "RecordDecoder", "RegistryValues", "ValueDecoder", "is_label"]


_LABEL = re.compile(r".+@(\d+|sha256:[0-9a-f]{12})")
"""What `model_version` holds: `minilm@7`, or `minilm@sha256:0123456789ab` of a model without versions."""


class Decoded(NamedTuple):
    """A batch of values, decoded.

    Attributes:
        rows: `(n_good,)` int64, which values are records, rising.
        texts: `(n_good,)` rows with the columns that the text template reads.
        records: `(n_good,)` dictionaries, or None if no output needs them.
        columns: `(n_good,)` rows with the columns to write, or None if no output needs them.
        reasons: what is wrong with each of the other values, by its row.
    """

    rows: NDArray[np.int64]
    texts: pa.RecordBatch
    records: list[dict[str, Any]] | None
    columns: pa.RecordBatch | None
    reasons: dict[int, str]


class ValueDecoder(Protocol):
    """Decodes the values of one format."""

    @property
    def n_left_out(self) -> int:
        """How many values so far are of fields that no column holds, though all fields were wanted."""

    def __call__(self, values: Any) -> Decoded:
        """Decode a batch of values, `unpack.Values`.

        Raises:
            RegistryUnavailable: a schema cannot be fetched now; no value is at fault.
        """


class PlainValues:
    """Decodes JSON and text, which need no schema.

    Args:
        plan: of the worker.
        schema: the columns of the records, or None if no output needs columns. Fields of the text that it
            lacks are read from the values themselves.
    """

    def __init__(self, plan: Plan, schema: pa.Schema | None) -> None:
        self.n_left_out = 0
        self._kind = plan.plain_format
        self._fields = plan.template.fields
        self._needs_objects = plan.needs_objects
        self._as_written = plan.settings.format != "msgpack"
        self._schema = schema
        self._kept = [] if schema is None else list(kept_columns(plan, schema))
        self._has_texts = schema is not None and all(
            field_path(schema, name) is not None for name in self._fields
        )
        self._decoder: JsonDecoder | None = None
        if schema is not None and self._kind == "json":
            self._decoder = JsonDecoder(
                f"topic {plan.input_names}",
                json_columns(schema),
                all_fields=plan.fields is None,
            )

    def __call__(self, values: Sequence[Value]) -> Decoded:
        if self._schema is None:
            found = decode_objects(values, self._kind, as_written=self._as_written)
            texts = text_columns(found.records, self._fields)
            return Decoded(found.places, texts, found.records, None, found.bad)
        batch, good, reasons = decode_columns(values, self._kind, self._schema, self._decoder)
        rows, objects = np.array(good, np.int64), None
        if self._needs_objects or not self._has_texts:
            wanted = values if len(rows) == len(values) else [values[row] for row in good]
            found = decode_objects(wanted, self._kind, as_written=self._as_written)
            objects = found.records
            reasons |= {int(rows[row]): reason for row, reason in found.bad.items()}
            if found.bad:
                batch, rows = batch.take(pa.array(found.places)), rows[found.places]
        if self._decoder is not None and self._decoder.left_out is not None:
            self.n_left_out += sum(self._decoder.left_out.take().values())
        columns = batch.select(self._kept) if self._kept else None
        texts = batch if self._has_texts or objects is None else text_columns(objects, self._fields)
        return Decoded(rows, texts, objects if self._needs_objects else None, columns, reasons)


class RegistryValues:
    """Decodes values that begin with the id of their schema.

    Args:
        plan: of the worker.
        schema: the columns of the records, or None if no output needs columns.
        decode: decodes values by the schemas of the registry.
    """

    def __init__(self, plan: Plan, schema: pa.Schema | None, decode: FramedDecoder) -> None:
        self._n_left_out = 0
        self._decode = decode
        self._fields = plan.template.fields
        self._writes_json, self._kept = plan.settings.format == "json" and plan.needs_objects, plan.fields
        self._columns: pa.Schema | None = None
        self._left_out: LeftOut | None = None
        if schema is not None and (kept := kept_columns(plan, schema)):
            self._columns = pa.schema([schema.field(name) for name in kept])
            if plan.fields is None:
                self._left_out = LeftOut(self._columns, f"topic {plan.input_names}")

    @property
    def n_left_out(self) -> int:
        """How many values so far are of fields that no column holds, or that their schema does not have."""
        return self._n_left_out + self._decode.n_unknown

    def __call__(self, values: Sequence[Value]) -> Decoded:
        records, good, reasons = self._decode(values)
        if self._writes_json:
            bad = {i: why for i, one in enumerate(records) if (why := not_json(one, self._kept))}
            reasons |= {good[i]: why for i, why in bad.items()}
            good = [row for i, row in enumerate(good) if i not in bad]
            records = [one for i, one in enumerate(records) if i not in bad]
        rows, columns = np.array(good, np.int64), None
        if self._columns is not None:
            columns, fit, misfits = object_columns(records, self._columns)
            reasons |= {int(rows[i]): reason for i, reason in misfits.items()}
            if misfits:
                records, rows = [records[i] for i in fit], rows[fit]
            if self._left_out is not None:
                self._n_left_out += self._left_out.of_records(records)
        return Decoded(rows, text_columns(records, self._fields), records, columns, reasons)


def _taken(
    records: Sequence[dict[str, Any]], added: Sequence[str], kept: Sequence[str] | None
) -> dict[int, str]:
    """The records that would lose a field to a column that is added, and why, by their position.

    A record that Millstream has embedded already is embedded again.
    """
    names = [name for name in added if kept is None or name in kept]
    if not any(any(map(contains, records, repeat(name))) for name in names):  # the usual case, in C
        return {}
    return {
        i: f"the record has a field {next(name for name in names if name in record)!r}, and Millstream adds "
        "one of this name: leave it out with --fields"
        for i, record in enumerate(records)
        if not record.keys().isdisjoint(names) and not _is_embedded(record)
    }


def _is_embedded(record: dict[str, Any]) -> bool:
    vector, label = ADDED
    return vector in record and is_label(record.get(label))


def is_label(value: object) -> bool:
    """Whether a value of the field `model_version` is one of Millstream's."""
    return bool(_LABEL.fullmatch(str(value)))


class RecordDecoder:
    """Decodes and enriches batches of values.

    Args:
        plan: of the worker.
        schema: the columns of the records, or None if no output needs columns.
        decode: decodes the values.
        spans: for tracing.
        masked: masks fields of the records; None if none is masked.

    Attributes:
        accept: raises ConfigurationError for a model that lacks a head, adds a column that records have, has
            other masks than it must have, or does not add what a condition of an output asks for.
    """

    def __init__(
        self,
        plan: Plan,
        schema: pa.Schema | None,
        decode: ValueDecoder,
        spans: Spans = OFF,
        masked: MaskedFields | None = None,
    ) -> None:
        self._decode = decode
        self._spans = spans
        self._keeps_values = plan.uses_registry
        self._fields = plan.fields
        self._enrichment = Enrichment(plan.template, (), plan.vectors, plan.heads)
        self._masked = masked
        kept = () if schema is None else kept_columns(plan, schema)
        masks = plan.masks if masked is None else masked.masks
        conditions = tuple(plan.conditions.values())
        self.accept = replace(self._enrichment, keep=kept, masks=masks, conditions=conditions).accept

    @property
    def n_left_out(self) -> int:
        """How many values so far are of fields that no column holds, though all fields were wanted."""
        return self._decode.n_left_out

    def __call__(self, values: Values, model: FollowedModel, deletes: Sequence[int] = ()) -> EnrichedBatch:
        """Decode and enrich values.

        Args:
            values: of messages, or rows in them.
            model: the model.
            deletes: which of them are deletes, ascending; they are not decoded.

        Raises:
            RegistryUnavailable: a schema cannot be fetched now; no value is at fault.
            StepFailed: a value may be at fault: decode fewer together.
        """
        if deletes:
            return self._among(deletes, values, model)
        began = time.time_ns()
        with step("VALUE_CONVERTER"):
            rows, texts, records, columns, reasons = self._decode(values)
        letters = [DeadLetter(row, "VALUE_CONVERTER", reason) for row, reason in reasons.items()]
        self._spans.passed("decode", began)
        with self._spans.step("encode"), step("TRANSFORMATION"):
            batch, bad = self._enrichment(texts, model.encoder, model.label)
        if bad:
            letters += [DeadLetter(int(rows[i]), "TRANSFORMATION", reason) for i, reason in bad.items()]
            kept = good_rows(len(rows), bad)
            rows, texts = rows[kept], texts.take(pa.array(kept))
            records = None if records is None else [records[i] for i in kept.tolist()]
            columns = None if columns is None else columns.take(pa.array(kept))
        if records is not None and (taken := _taken(records, batch.schema.names, self._fields)):
            letters += [DeadLetter(int(rows[i]), "TRANSFORMATION", why) for i, why in taken.items()]
            kept = good_rows(len(rows), taken)
            rows, records = rows[kept], [records[i] for i in kept.tolist()]
            columns = None if columns is None else columns.take(pa.array(kept))
            batch, texts = batch.take(pa.array(kept)), texts.take(pa.array(kept))
        if self._masked is not None:
            with step("TRANSFORMATION"):
                if records is not None:
                    self._masked.records(records)
                if columns is not None:
                    columns = self._masked.batch(columns)
        if columns is not None:
            schema = pa.schema([*columns.schema, *batch.schema])
            batch = pa.RecordBatch.from_arrays([*columns.columns, *batch.columns], schema=schema)
        came: Sequence[Value] = ()
        if self._keeps_values and not isinstance(values, ArrowRows):
            came = [values[row] for row in rows.tolist()]
        return EnrichedBatch(rows, records, batch, model.label, sorted(letters), came, texts=texts)

    def _among(self, deletes: Sequence[int], values: Values, model: FollowedModel) -> EnrichedBatch:
        """Decode and enrich the values between deletes."""
        if isinstance(values, ArrowRows):
            live = np.delete(np.arange(values.n), deletes)
            made = self(values.take(live), model)
        else:
            live = np.delete(np.arange(len(values)), deletes)
            made = self([values[row] for row in live.tolist()], model)
        letters = [one._replace(row=int(live[one.row])) for one in made.letters]
        return made._replace(rows=live[made.rows], letters=letters, deletes=deletes)
