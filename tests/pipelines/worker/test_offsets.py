"""The bookkeeping of positions, against every order of batches, rebalances and rewinds."""

import numpy as np
import pytest
from faults.messages import FakeMessage
from hypothesis import given
from hypothesis import strategies as st

from pipelines.worker.offsets import PartitionIndex, Positions


def take(positions, records):
    partitions = np.array([p for p, _ in records], np.int32)
    offsets = np.array([o for _, o in records], np.int64)
    mask = positions.take(partitions, offsets)
    return [record for record, wanted in zip(records, mask, strict=True) if wanted]


def test_records_of_others_and_old_ones_are_passed_over():
    positions = Positions()
    positions.begin(0, 5)
    assert take(positions, [(0, 3), (1, 0), (0, 5), (0, 9)]) == [(0, 5), (0, 9)]
    assert positions.next(0) == 10
    assert take(positions, [(0, 9), (0, 8)]) == []
    assert positions.pending() == {0: 10}


def test_a_commit_settles_and_a_rewind_goes_back_to_it():
    positions = Positions()
    positions.begin(0, 0)
    positions.begin(1, 7)
    take(positions, [(0, 0), (0, 1)])
    positions.commit({0: 2})
    assert positions.pending() == {}
    take(positions, [(0, 2), (1, 7)])
    assert positions.rewind() == {0: 2, 1: 7}
    assert take(positions, [(0, 2), (1, 7)]) == [(0, 2), (1, 7)]
    positions.end([0])
    assert positions.owned == (1,)
    positions.commit({0: 3, 1: 8})
    assert positions.pending() == {}


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("batch"), st.integers(1, 20), st.integers(0, 5)),
            st.just(("commit",)),
            st.just(("rewind",)),
        ),
        max_size=30,
    )
)
def test_every_record_is_committed_exactly_once(steps):
    """A log with gaps, read from the position; batches may begin with records that were seen before."""
    log = [offset for offset in range(400) if offset % 7 != 3]
    positions = Positions()
    positions.begin(0, 0)
    committed, open_ = [], []
    for step in steps:
        if step[0] == "batch":
            _, size, again = step
            first = next(i for i, offset in enumerate(log) if offset >= positions.next(0))
            open_ += take(positions, [(0, o) for o in log[max(0, first - again) : first + size]])
        elif step[0] == "commit":
            committed += open_
            open_ = []
            positions.commit({0: positions.next(0)})
        else:
            open_ = []
            positions.rewind()
    assert committed == [(0, offset) for offset in log[: len(committed)]]


def test_a_batch_that_is_given_back_is_taken_again():
    positions = Positions()
    positions.begin(0, 0)
    positions.begin(1, 7)
    take(positions, [(0, 0), (1, 7)])
    positions.commit({0: 1, 1: 8})
    batch = [(1, 8), (0, 1), (0, 4), (1, 9)]
    assert take(positions, batch) == batch
    columns = np.array([p for p, _ in batch], np.int32), np.array([o for _, o in batch], np.int64)
    assert positions.give_back(*columns) == [0, 1]
    assert positions.pending() == {}
    assert take(positions, batch) == batch
    positions.end([1])
    assert positions.give_back(*columns) == [0]
    assert positions.owned == (0,)


def messages(places):
    return [FakeMessage(b"", topic_=topic, partition_=partition) for topic, partition in places]


@pytest.mark.parametrize(
    "order",
    [
        [("a", 3), ("a", 0), ("a", 1)],
        [("a", 3), ("b", 3), ("b", 0), ("a", 1)],
    ],
)
def test_messages_have_the_numbers_of_their_partitions(order):
    places = PartitionIndex()
    numbers = [places.number(*place) for place in order]
    assert [places.number(*place) for place in order] == numbers
    assert [places[number] for number in numbers] == order
    mixed = [*reversed(order), *order]
    assert [places[number] for number in places.of_messages(messages(mixed)).tolist()] == mixed
    assert places.of_messages([]).tolist() == []


def test_thousands_of_partitions_are_numbered_without_starting_over_for_each(monkeypatch):
    copies, resize = [], np.resize
    monkeypatch.setattr(np, "resize", lambda array, size: copies.append(len(array)) or resize(array, size))
    places, order = PartitionIndex(), [("a", partition) for partition in range(8000)]
    numbers = [places.number(*place) for place in order]
    assert places.of_messages(messages(order)).tolist() == numbers
    assert sum(copies) < 2 * len(order)


def test_a_number_is_a_partition_again_for_the_client():
    places = PartitionIndex()
    part = places.part(places.number("a", 3), 7, "files=5")
    assert (part.topic, part.partition, part.offset, part.metadata) == ("a", 3, 7, "files=5")
    assert str(places[0]) == "a/p3"
