"""The positions of rows survive their encoding, and tell which rows of another firing they have."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.beam.streaming.batch import ROW, SOURCE
from pipelines.beam.streaming.sinks import positions
from pipelines.beam.streaming.sinks.positions import Positions

ROWS = st.tuples(st.sampled_from(["a", "b\0v", "é/0"]), st.integers(0, 30) | st.just(2**63 - 1))


def table(rows):
    sources, numbers = ([row[i] for row in sorted(rows)] for i in (0, 1))
    return pa.table({SOURCE: pa.array(sources, pa.string()), ROW: pa.array(numbers, pa.int64())})


@pytest.mark.parametrize("limit", [1, 10_000])
@given(mine=st.sets(ROWS, min_size=1), others=st.sets(ROWS))
def test_a_file_knows_its_rows(limit, mine, others):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(positions, "_MAX_SOURCES", limit)
        found = Positions.of(table(mine))
    again = Positions.decode(found.encode())
    assert len(found) == len(again) == len(mine)
    for one in (found, again):
        assert one.held(table(others)).tolist() == [row in mine for row in sorted(others)]


def test_rows_without_gaps_take_no_room():
    rows = pa.table({SOURCE: ["a"] * 100_000, ROW: np.arange(100_000)})
    assert len(Positions.of(rows).encode()) < 1000


def test_ids_of_pubsub_take_a_few_bytes_each():
    ids = np.sort(np.random.default_rng(1).choice(10**12, 100_000, replace=False)) + 10**16
    assert len(Positions.of(pa.table({SOURCE: ["pubsub:x"] * len(ids), ROW: ids})).encode()) < 900_000
