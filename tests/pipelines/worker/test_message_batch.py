import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.worker.source import MessageBatch


@given(st.lists(st.booleans()))
def test_selected_messages_keep_their_places(wanted):
    n = len(wanted)
    batch = MessageBatch(list(range(n)), np.arange(n, dtype=np.int32) + 100, np.arange(n) + 1000)
    found = batch.select(np.array(wanted, np.bool_))
    assert found.messages == [row for row in range(n) if wanted[row]]
    assert len(found) == sum(wanted)
    assert found.partitions.tolist() == [row + 100 for row in found.messages]
    assert found.offsets.tolist() == [row + 1000 for row in found.messages]
