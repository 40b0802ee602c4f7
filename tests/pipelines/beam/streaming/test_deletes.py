"""Deletes among the records of a batch."""

import numpy as np
import pyarrow as pa

from pipelines.beam.streaming.batch import SourceBatch
from pipelines.beam.streaming.deletes import as_rows, refused
from pipelines.kafka.messages import NO_TIMESTAMP
from pipelines.records.bad_rows import BadRow, Envelope

DELETES = (
    BadRow("events/0", 5, "a delete", None, Envelope(b"a", (("h", b"x"),), 1000)),
    BadRow("events/0", 8, "a delete", None, Envelope(b"b")),
)


def batch(rows=(4, 6, 9), deletes=DELETES):
    n = len(rows)
    records = pa.record_batch({"id": pa.array(rows, pa.int64()), "text": pa.array(["x"] * n, pa.string())})
    times = np.arange(n, dtype=np.int64)
    return SourceBatch(
        "events/0",
        records,
        np.array(rows, np.int64),
        times,
        (),
        0,
        5_000_000,
        tuple(b"%d" % row for row in rows),
        values=(b"v",) * n,
        timestamps=times,
        deletes=deletes,
    )


def test_deletes_become_rows_in_their_place():
    made = as_rows(batch())
    assert made.records.to_pydict() == {
        "id": [4, None, 6, None, 9],
        "text": ["x", None, "x", None, "x"],
        "message_key": [b"4", b"a", b"6", b"b", b"9"],
        "deleted": [False, True, False, True, False],
    }
    assert made.rows.tolist() == [4, 5, 6, 8, 9]
    assert made.times.tolist() == [0, 1_000_000, 1, 5_000_000, 2]
    assert made.timestamps.tolist() == [0, 1000, 1, NO_TIMESTAMP, 2]
    assert made.deletes == ()
    assert made.bad_row(1, "too late") == BadRow("events/0", 5, "too late", None, DELETES[0].envelope)
    assert made.bad_row(2, "too late") == BadRow("events/0", 6, "too late", b"v", Envelope(b"6", (), 1))


def test_batches_of_deletes_alone_or_of_none_have_the_same_columns():
    alone, none = as_rows(batch(rows=())), as_rows(batch(deletes=()))
    assert alone.records.schema == none.records.schema == as_rows(batch()).records.schema
    assert (alone.records["deleted"].to_pylist(), none.records["deleted"].to_pylist()) == (
        [True, True],
        [False, False, False],
    )


def test_a_delete_that_an_output_cannot_hold_says_why():
    [one, two] = refused(DELETES, "no")
    assert (one.reason, one.envelope, two.row) == ("a delete, and no", DELETES[0].envelope, 8)
