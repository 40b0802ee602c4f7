"""Messages whose schemas are in a registry become records with vectors; see also `decode.py`."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipelines.enrich.enrichment import EnrichedBatch, Enrichment
from pipelines.enrich.model_follower import FollowedModel
from pipelines.formats.messages import Value, object_columns, text_columns
from pipelines.formats.schema_registry import FramedDecoder
from pipelines.records.bad_rows import DeadLetter
from pipelines.worker.decode import kept_columns
from pipelines.worker.plan import Plan
from pipelines.worker.telemetry.tracing import OFF, Spans

__all__ = ["FramedRecordMaker"]


class FramedRecordMaker:
    """Makes records of values that begin with the id of their schema.

    Args:
        plan: of the worker.
        schema: the columns of the records, where an output needs columns.
        decoder: of the values.
        spans: for tracing.
    """

    def __init__(
        self,
        plan: Plan,
        schema: pa.Schema | None,
        decoder: FramedDecoder,
        spans: Spans = OFF,
    ) -> None:
        self._spans = spans
        self._decode = decoder
        self._fields = plan.template.fields
        self._columns: pa.Schema | None = None
        if schema is not None and (kept := kept_columns(plan, schema)):
            self._columns = pa.schema([schema.field(name) for name in kept])
        self._enrichment = Enrichment(plan.template, (), plan.vectors, plan.heads)
        beside = () if self._columns is None else tuple(self._columns.names)
        self.accept = replace(self._enrichment, keep=beside).accept

    def __call__(self, values: Sequence[Value], model: FollowedModel) -> EnrichedBatch:
        """Decode and enrich values.

        Raises:
            RegistryUnavailable: a schema is needed that cannot be had now; no value is at fault.
        """
        began = time.time_ns()
        records, good, reasons = self._decode(values)
        rows = np.array(good, np.int64)
        columns = None
        if self._columns is not None:
            columns, fit, misfits = object_columns(records, self._columns)
            reasons |= {int(rows[i]): why for i, why in misfits.items()}
            if misfits:
                records, rows = [records[i] for i in fit], rows[fit]
        letters = [DeadLetter(row, "VALUE_CONVERTER", reason) for row, reason in reasons.items()]
        texts = text_columns(records, self._fields)
        self._spans.passed("decode", began)
        with self._spans.step("encode"):
            enriched = self._enrichment(texts, model.encoder, model.label)
        if enriched.bad:
            letters += [DeadLetter(int(rows[i]), "TRANSFORMATION", why) for i, why in enriched.bad.items()]
            kept = np.setdiff1d(np.arange(len(rows)), list(enriched.bad))
            records, rows = [records[i] for i in kept.tolist()], rows[kept]
            columns = None if columns is None else columns.take(pa.array(kept))
        batch = enriched.batch if columns is None else _beside(columns, enriched.batch)
        wanted = [values[row] for row in rows.tolist()]
        return EnrichedBatch(rows, records, batch, model.label, sorted(letters), wanted)


def _beside(left: pa.RecordBatch, right: pa.RecordBatch) -> pa.RecordBatch:
    """The columns of both."""
    schema = pa.schema([*left.schema, *right.schema])
    return pa.RecordBatch.from_arrays([*left.columns, *right.columns], schema=schema)
