"""Files of ranges: every record in exactly one, whoever else writes, and whatever the storage does."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults.doubles import Clock, DictObjects
from hypothesis import given
from hypothesis import strategies as st
from patience import wait_for

from encoder.errors import ConfigurationError, StoreUnavailable
from encoder.store.objects import open_objects
from pipelines.sinks.offset_files import OffsetFiles
from pipelines.sinks.open_files import Rotation


class Seconds:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class FlakyObjects(DictObjects):
    """Its next creations fail with these errors, after they were done where the error says so."""

    def __init__(self, errors=()):
        super().__init__(Clock())
        self.errors = list(errors)

    def create(self, key, data):
        error = self.errors.pop(0) if self.errors else None
        if error is None or "done" in str(error):
            done = super().create(key, data)
        if error is not None:
            raise error
        return done


def place(partition):
    return "in", partition


def batch(offsets):
    return pa.record_batch({"offset": pa.array(offsets, pa.int64())})


def add(files, offsets, partition=0):
    offsets = np.array(offsets, np.int64)
    files.add(partition, offsets, batch(offsets))


def files_in(objects, rows=10, clock=None, **options):
    clock = clock or Seconds()
    return OffsetFiles(objects, Rotation(rows, **options), {"who": "test"}, place, clock=clock)


def settle(files):
    assert files.flush([0, 1], 30)


def written(objects, partition=0):
    """The offsets of each file."""
    keys = [info.key for info in objects.scan(f"in/p{partition}")]
    return [pq.read_table(pa.BufferReader(objects.read(k)))["offset"].to_pylist() for k in keys]


@pytest.fixture
def objects():
    return FlakyObjects()


def test_files_end_at_fixed_offsets(objects):
    files = files_in(objects)
    assert files.begin(0, 3) == 3
    for offsets in ([3, 4, 8], [9, 10, 12], list(range(13, 37))):
        add(files, offsets)
    settle(files)
    assert written(objects) == [
        [3, 4, 8, 9], [10, 12, *range(13, 20)], list(range(20, 30)), list(range(30, 37))
    ]  # fmt: skip
    [first, *_] = objects.scan("in/p0")
    assert first.key == "in/p0/00000000000000000003.parquet"
    metadata = pq.read_metadata(pa.BufferReader(objects.read(first.key))).metadata
    about = ("who", "millstream.topic", "millstream.partition", "millstream.start", "millstream.end")
    assert [metadata[name.encode()].decode() for name in about] == ["test", "in", "0", "3", "9"]


def test_partitions_of_several_topics_have_folders_of_their_own(objects):
    places = [("in", 3), ("in-2", 3)]
    files = OffsetFiles(objects, Rotation(10), {}, places.__getitem__)
    for partition in (0, 1):
        files.begin(partition, 0)
        add(files, range(5), partition)
    settle(files)
    assert set(objects.content) == {f"{topic}/p3/{0:020d}.parquet" for topic in ("in", "in-2")}
    again = OffsetFiles(objects, Rotation(10), {}, [("in-2", 3), ("in-3", 3)].__getitem__)
    assert [again.begin(0, 0), again.begin(1, 0)] == [5, 0]


def tick_until(condition, files):
    wait_for(files.tick, "files to be written", lambda _: condition(), pause=0.001)


def test_only_full_files_are_written(objects):
    clock = Seconds()
    files = files_in(objects, clock=clock, seconds=60.0)
    files.begin(0, 0)
    add(files, range(15))
    assert files.durable(0, 15) == 0
    tick_until(lambda: files.durable(0, 15) == 10, files)
    assert written(objects) == [list(range(10))]
    clock.now = 61.0
    tick_until(lambda: files.durable(0, 15) == 15, files)
    assert written(objects) == [list(range(10)), list(range(10, 15))]
    assert files.durable(0, 99) == 99


def test_bytes_and_schemas_end_files(objects):
    files = files_in(objects, rows=1000, n_bytes=80)
    files.begin(0, 0)
    for first in range(0, 30, 5):
        add(files, range(first, first + 5))
    other = pa.record_batch({"offset": pa.array([30], pa.int64()), "more": ["x"]})
    files.add(0, np.array([30]), other)
    settle(files)
    assert written(objects) == [list(range(10)), list(range(10, 20)), list(range(20, 30)), [30]]


def test_records_that_were_taken_are_passed_over(objects):
    files = files_in(objects)
    files.begin(0, 5)
    add(files, range(8))
    add(files, range(3, 9))
    settle(files)
    add(files, range(12))
    settle(files)
    assert [o for one in written(objects) for o in one] == list(range(5, 12))


def test_a_new_owner_goes_on_behind_the_last_file(objects):
    files = files_in(objects)
    files.begin(0, 0)
    add(files, range(25))
    settle(files)
    again = files_in(objects)
    assert again.begin(0, 7) == 25
    assert again.begin(0, 24) == 25
    assert again.begin(0, 40) == 40
    assert again.begin(1, 0) == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from(["read", "flush"]), st.integers(1, 15)), max_size=40
    )
)
def test_two_owners_write_every_record_once(steps):
    """Both believe that the partition is theirs and read the same log; nothing tells them of each other."""
    log = [offset for offset in range(300) if offset % 11 != 4]
    objects = FlakyObjects()
    owners = [files_in(objects, rows=20), files_in(objects, rows=20)]
    position = [owner.begin(0, 0) for owner in owners]
    for who, what, n in [*steps, (0, "flush", 1), (1, "flush", 1)]:
        if what == "read":
            offsets = [o for o in log if o >= position[who]][:n]
            if offsets:
                add(owners[who], offsets)
                position[who] = offsets[-1] + 1
        else:
            settle(owners[who])
    found = [offset for one in written(objects) for offset in one]
    assert found == [offset for offset in log if offset < max(position)]


@pytest.mark.slow
@pytest.mark.parametrize("word", ["lost before", "done, reply lost"])
def test_a_store_that_does_not_answer_is_asked_again(word):
    objects = FlakyObjects([StoreUnavailable(word), StoreUnavailable("lost before")])
    clock = Seconds()
    files = files_in(objects, clock=clock)
    files.begin(0, 0)
    add(files, range(20))
    assert not files.flush([0], 0.5)
    assert files.durable(0, 20) == 0
    assert len(objects.errors) == 1
    for now in (2.0, 4.0):
        clock.now = now
        files.flush([0], 0.5)
    settle(files)
    assert written(objects) == [list(range(10)), list(range(10, 20))]


def test_a_store_that_refuses_stops_the_worker():
    files = files_in(FlakyObjects([ConfigurationError("refused")]))
    files.begin(0, 0)
    add(files, range(10))
    with pytest.raises(ConfigurationError, match="refused"):
        files.flush([0], 30)


def test_a_slow_store_fills_partitions(objects):
    objects.errors = [StoreUnavailable("away")] * 100
    files = files_in(objects)
    files.begin(0, 0)
    files.begin(1, 0)
    add(files, range(25))
    assert files.full == [0]
    small = OffsetFiles(objects, Rotation(), {}, place, max_bytes=160)
    small.begin(0, 0)
    small.begin(1, 0)
    add(small, range(20))
    assert small.full == [0, 1]


def test_what_is_revoked_is_dropped(objects):
    files = files_in(objects)
    files.begin(0, 0)
    add(files, range(5))
    files.end([0, 7])
    settle(files)
    assert written(objects) == []
    assert files.n_bytes == 0


def test_files_in_a_folder_are_one_table(tmp_path):
    files = OffsetFiles(open_objects(str(tmp_path / "out")), Rotation(10), {}, place)
    for partition in (0, 1):
        files.begin(partition, 0)
        add(files, range(15), partition)
    settle(files)
    table = pq.read_table(tmp_path / "out")
    assert sorted(table["offset"].to_pylist()) == sorted([*range(15)] * 2)
    assert len(open_objects(str(tmp_path / "out")).scan("in/p0")) == 2


def test_records_that_wait_are_in_no_file_until_they_are_confirmed(objects):
    files = OffsetFiles(objects, Rotation(10), {}, place, waits=True)
    files.begin(0, 0)
    add(files, [3, *range(5, 25)])
    settle(files)
    assert (written(objects), files.durable(0, 25)) == ([], 3)
    files.take_back()
    add(files, [1, 3, 8])  # others than before: what is a dead letter now, and what was one
    assert files.durable(0, 9) == 1
    files.confirm()
    add(files, [9, 12])
    files.take_back()
    settle(files)
    assert (written(objects), files.durable(0, 9)) == ([[1, 3, 8]], 9)
    add(files, [8, 9])
    files.confirm()
    settle(files)
    assert written(objects) == [[1, 3, 8], [9]]


def test_what_another_worker_has_written_does_not_wait_any_more(objects):
    files, other = (OffsetFiles(objects, Rotation(100), {}, place, waits=waits) for waits in (True, False))
    for one in (files, other):
        one.begin(0, 0)
        add(one, [0, 1])
    files.confirm()
    add(other, [2, 3])
    settle(other)
    add(files, [2, 3, 4])
    settle(files)
    files.confirm()
    settle(files)
    assert written(objects) == [[0, 1, 2, 3], [4]]


def test_it_says_when_much_waits(objects):
    files = OffsetFiles(objects, Rotation(10**6), {}, place, max_bytes=4000, waits=True)
    files.begin(0, 0)
    add(files, range(100))
    assert not files.needs_confirm
    add(files, range(100, 200))
    assert files.needs_confirm
    files.confirm()
    assert not files.needs_confirm
