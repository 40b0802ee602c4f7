"""Arrow messages as batches: each message is a source of its own, with the rows in it as its records.

payments/3/17      the message at offset 17 of partition 3; its rows are numbered from 0
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.beam.streaming.batch import SourceBatch, Windows
from pipelines.beam.transforms.metrics import report_left_out
from pipelines.formats.arrow.columns import columns_of, fit
from pipelines.formats.arrow.reader import row_stream
from pipelines.formats.arrow.rows import WHOLE, unpack
from pipelines.formats.json_left_out import LeftOut
from pipelines.formats.messages import Value
from pipelines.records.bad_rows import BadRow, Envelope

__all__ = ["RowReader", "sampled_columns"]

_LIMIT = 256 << 20  # bytes of the rows of a message in memory
_ROW_BYTES = 1024  # about a vector


def sampled_columns(values: list[Value]) -> pa.Schema:
    """The columns of a sample of messages; those that no column can hold are left out."""
    found = columns_of(values)
    return pa.schema([(name, kind) for name, kind in found.items() if isinstance(kind, pa.DataType)])


@dataclass(frozen=True)
class RowReader:
    """Reads the rows of messages.

    Attributes:
        name: of the input.
        schema: the columns of the records.
        windows: windows of event time.
        all_fields: whether the columns were meant to hold all fields: values of others are counted.
    """

    name: str
    schema: pa.Schema
    windows: Windows
    all_fields: bool

    @cached_property
    def _left_out(self) -> LeftOut | None:
        return LeftOut(self.schema, self.name) if self.all_fields else None

    def batch(
        self,
        value: Value,
        place: tuple[str, int],
        envelope: Envelope,
        time: int,
        *,
        constants: Mapping[str, str | None] | None = None,
    ) -> SourceBatch:
        """The rows of a message, without its watermark.

        Args:
            value: of the message.
            place: where it is: its source, and its number there.
            envelope: its key, headers and timestamp.
            time: its own time, microseconds since the epoch.
            constants: columns that have one value in all its rows.
        """
        constants = constants or {}
        inside = pa.schema([field for field in self.schema if field.name not in constants])
        columns = None if self.all_fields else set(inside.names)
        found = unpack([value], limit=_LIMIT, row_bytes=_ROW_BYTES, columns=columns)
        source, number = place
        if found.items.tolist() == [WHOLE]:
            whole = BadRow(source, number, found.rows.bad[0], value, envelope)
            return self._made(
                source, pa.RecordBatch.from_pylist([], self.schema), [], (whole,), envelope, time
            )
        good, reasons = found.rows.good, dict(found.rows.bad)
        records = pa.RecordBatch.from_pylist([], inside)
        numbers: NDArray[np.int64] = np.zeros(0, np.int64)
        for batch in found.rows.batches:  # of one message: one or none
            if self._left_out is not None:
                self._left_out.of_columns(batch)
                report_left_out(self._left_out.take())
            records, places, misfits = fit(batch, inside)
            numbers = good[places]
            reasons |= {int(good[row]): why for row, why in misfits.items()}
        made = {
            name: pa.repeat(pa.scalar(text, pa.string()), len(numbers)) for name, text in constants.items()
        }
        made |= dict(zip(records.schema.names, records.columns, strict=True))
        records = pa.record_batch([made[name] for name in self.schema.names], schema=self.schema)
        one = f"{source}/{number}"
        bad = tuple(
            BadRow(one, row, why, row_stream(value or b"", row), envelope)
            for row, why in sorted(reasons.items())
        )
        found_batch = self._made(one, records, numbers, bad, envelope, time)
        return replace(found_batch, stream=value)

    def _made(
        self,
        source: str,
        records: pa.RecordBatch,
        numbers: "NDArray[np.int64] | list[int]",
        bad: tuple[BadRow, ...],
        envelope: Envelope,
        time: int,
    ) -> SourceBatch:
        n = len(numbers)
        stamp = -1 if envelope.timestamp is None else envelope.timestamp
        return SourceBatch(
            source,
            records,
            np.array(numbers, np.int64),
            self.windows.event_times(records, np.full(n, time, np.int64)),
            bad,
            0,
            time,
            keys=None if envelope.key is None else (envelope.key,) * n,
            headers=(envelope.headers,) * n if envelope.headers else None,
            timestamps=np.full(n, stamp, np.int64),
        )
