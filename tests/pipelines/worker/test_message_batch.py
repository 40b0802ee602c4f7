from itertools import pairwise

import numpy as np
from faults.messages import FakeMessage, batch_of
from hypothesis import given
from hypothesis import strategies as st

from pipelines.worker.message_batch import MessageBatch


@given(st.lists(st.booleans()))
def test_selected_messages_keep_their_places(wanted):
    n = len(wanted)
    batch = MessageBatch(list(range(n)), np.arange(n, dtype=np.int32) + 100, np.arange(n) + 1000)
    found = batch.select(np.array(wanted, np.bool_))
    assert found.messages == [row for row in range(n) if wanted[row]]
    assert len(found) == sum(wanted)
    assert found.partitions.tolist() == [row + 100 for row in found.messages]
    assert found.offsets.tolist() == [row + 1000 for row in found.messages]


@given(st.lists(st.none() | st.integers(0, 9), min_size=1), st.integers(1, 20))
def test_parts_are_the_whole_batch_and_keep_to_their_bytes(sizes, n_bytes):
    values = [None if size is None else b"x" * size for size in sizes]
    batch = batch_of([FakeMessage(value, offset_=row) for row, value in enumerate(values)])
    parts = [batch.slice(*edges) for edges in batch.parts(n_bytes)]
    assert [offset for part in parts for offset in part.offsets.tolist()] == list(range(len(sizes)))
    for part in parts:
        assert len(part) == 1 or sum(map(len, part.messages)) <= n_bytes
    for one, other in pairwise(parts):
        assert sum(map(len, one.messages)) + len(other.messages[0]) > n_bytes, (
            "no part is smaller than need be"
        )
