"""Records that wait, whichever output they are for."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sinks.offset_rows import OffsetBatch
from pipelines.sinks.open_files import Partition
from pipelines.sinks.tables.partition_rows import PartitionRows


def taken(kind, offsets, size):
    rows = kind(0)
    for first in range(0, len(offsets), size):
        part = np.array(offsets[first : first + size], np.int64)
        rows.take(OffsetBatch(part, pa.record_batch({"offset": part})))
    return rows


@pytest.mark.parametrize("kind", [Partition, PartitionRows])
@given(
    st.lists(st.integers(0, 100), unique=True, min_size=1).map(sorted),
    st.integers(1, 10),
    st.integers(0, 102),
)
def test_records_that_are_written_wait_no_more_and_take_no_memory(kind, offsets, size, end):
    rows = taken(kind, offsets, size)
    rows.forget(end)
    left = [offset for offset in offsets if offset >= end]
    assert [offset for part in rows.waiting for offset in part.offsets.tolist()] == left
    assert rows.n_bytes == rows.n_waiting_bytes == 8 * len(left)
    assert rows.first == (left[0] if left else None)
    assert (rows.begin, rows.confirmed) == (max(offsets[-1] + 1, end), end)


@pytest.mark.parametrize("kind", [Partition, PartitionRows])
def test_records_are_taken_back_up_to_the_last_that_were_confirmed(kind):
    rows = taken(kind, [0, 1, 2], 3)
    assert [part.offsets.tolist() for part in rows.confirm()] == [[0, 1, 2]]
    rows.take(OffsetBatch(np.array([5]), pa.record_batch({"offset": [5]})))
    assert rows.begin == 6
    rows.take_back()
    assert (rows.begin, rows.waiting, rows.n_waiting_bytes) == (3, [], 0)
