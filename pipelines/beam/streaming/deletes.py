"""What sinks make of the deletes of a batch: dead letters, or rows between its records."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.beam.streaming.batch import SourceBatch
from pipelines.enrich.delete_columns import DELETED, MESSAGE_KEY
from pipelines.kafka.messages import NO_TIMESTAMP
from pipelines.records.bad_rows import BadRow, Envelope
from pipelines.records.event_time import EARLIEST

__all__ = ["as_rows", "refused"]


def refused(deletes: Iterable[BadRow], why: str) -> list[BadRow]:
    """Deletes as dead letters of an output that cannot hold them."""
    return [replace(one, reason=f"{one.reason}, and {why}") for one in deletes]


def as_rows(batch: SourceBatch) -> SourceBatch:
    """A batch with its deletes as rows in the order of their offsets.

    Its records have the columns `message_key` and `deleted`. A delete's other columns are null, and its event
    time is the timestamp of its message.
    """
    n_records, deletes = batch.records.num_rows, batch.deletes
    envelopes = [one.envelope or Envelope() for one in deletes]
    known = [NO_TIMESTAMP if one.timestamp is None else one.timestamp for one in envelopes]
    stamps = np.array(known, np.int64)
    rows = np.concatenate([batch.rows, np.array([one.row for one in deletes], np.int64)])
    order = np.argsort(rows, kind="stable")
    deleted = order >= n_records
    places = pa.array(order, mask=deleted)
    keys = [*(batch.keys or [None] * n_records), *(one.key for one in envelopes)]
    values = [*(batch.values or [None] * n_records), *([None] * len(deletes))]
    headers = [*(batch.headers or [()] * n_records), *(one.headers for one in envelopes)]
    others = np.full(n_records, NO_TIMESTAMP) if batch.timestamps is None else batch.timestamps
    columns = {name: batch.records[name].take(places) for name in batch.records.schema.names}
    columns |= {MESSAGE_KEY: pa.array([keys[i] for i in order], pa.binary()), DELETED: pa.array(deleted)}
    return replace(
        batch,
        records=pa.record_batch(columns),
        rows=rows[order],
        times=np.concatenate([batch.times, _times(batch, stamps)])[order],
        keys=tuple(keys[i] for i in order),
        values=tuple(values[i] for i in order),
        headers=tuple(headers[i] for i in order),
        timestamps=np.concatenate([others, stamps])[order],
        deletes=(),
    )


def _times(batch: SourceBatch, stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """The event times of deletes: of their messages, or when the batch came if those are no times."""
    latest = max(batch.ingestion_time, batch.latest)
    timely = (stamps != NO_TIMESTAMP) & (stamps >= EARLIEST // 1000) & (stamps <= latest // 1000)
    return np.where(timely, np.where(timely, stamps, 0) * 1000, batch.ingestion_time)
