"""Where files end, and what is left of one that another worker wrote a part of."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sinks.offset_rows import OffsetBatch
from pipelines.sinks.open_files import OpenFile, ranges

OFFSETS = st.lists(st.integers(0, 100), unique=True).map(sorted)


@given(OFFSETS, st.integers(1, 12))
def test_ranges_hold_every_record_in_the_range_of_its_offset(offsets, size):
    found = list(ranges(np.array(offsets, np.int64), size))
    assert [offset for _, first, last in found for offset in offsets[first:last]] == offsets
    assert all({o // size for o in offsets[first:last]} == {k} for k, first, last in found)
    assert len({k for k, _, _ in found}) == len(found)


def offsets_of(file):
    if file is None:
        return []
    for part in file.parts:
        assert part.batch["offset"].to_pylist() == part.offsets.tolist()
    return [offset for part in file.parts for offset in part.offsets.tolist()]


@given(OFFSETS.filter(len), st.integers(1, 10), st.integers(-1, 101))
def test_what_lies_behind_an_offset(offsets, size, end):
    file = OpenFile(range=0, since=5.0)
    for first in range(0, len(offsets), size):
        part = np.array(offsets[first : first + size], np.int64)
        file.add(OffsetBatch(part, pa.record_batch({"offset": part})))
    assert (file.first, file.last, file.n_bytes) == (offsets[0], offsets[-1], 8 * len(offsets))
    rest = file.behind(end)
    assert offsets_of(rest) == [offset for offset in offsets if offset > end]
    assert rest is None or (rest.since, rest.n_bytes) == (5.0, 8 * len(offsets_of(rest)))
