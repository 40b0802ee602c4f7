"""Ranges whose rows are in several folders: every record once, wherever the writing of a range ended."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from amounts import amount
from faults.doubles import Clock, DictObjects
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import wait_for

from encoder.errors import ConfigurationError, StoreUnavailable
from pipelines.sinks.offset_files import OffsetFiles
from pipelines.sinks.open_files import Rotation
from pipelines.sinks.tables.partitioning import parse_partition_by

FIELDS = parse_partition_by("kind,day(at)")
DAY = 86_400_000_000


class MortalObjects(DictObjects):
    """After so many creations the process cannot create anything more."""

    def __init__(self):
        super().__init__(Clock())
        self.left = None

    def create(self, key, data):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise StoreUnavailable("the process ends here")
        return super().create(key, data)


def rows_of(offsets):
    """Records of three kinds and three days."""
    offsets = np.array(offsets, np.int64)
    kinds = [None if n % 7 == 6 else "abc"[n % 3] for n in offsets.tolist()]
    at = pa.array(offsets // 5 % 3 * DAY, pa.timestamp("us", "UTC"))
    return pa.record_batch({"offset": offsets, "kind": kinds, "at": at})


def files_in(objects, rows=10, fields=FIELDS, **options):
    return OffsetFiles(objects, Rotation(rows, **options), {}, lambda p: ("in", p), partitions=fields)


def add(files, offsets):
    files.add(0, np.array(offsets, np.int64), rows_of(offsets))


def written(objects):
    """The offsets in the files, each with its folder."""
    found = []
    for key, (data, _) in objects.content.items():
        if key.endswith(".parquet"):
            folder, _, name = key.rpartition("/")
            assert re.fullmatch(r"in-p0-\d{20}\.parquet", name)
            table = pq.ParquetFile(pa.BufferReader(data)).read()
            assert table.schema.names == ["offset", "at"]
            found += [(offset, folder) for offset in table["offset"].to_pylist()]
    return sorted(found)


def folder_of(offset):
    kind = "__HIVE_DEFAULT_PARTITION__" if offset % 7 == 6 else "abc"[offset % 3]
    return f"kind={kind}/at_day=1970-01-0{1 + offset // 5 % 3}"


def expected(offsets):
    return [(offset, folder_of(offset)) for offset in offsets]


def test_rows_of_a_range_are_in_the_folders_of_their_partitions():
    objects = MortalObjects()
    files = files_in(objects)
    assert files.begin(0, 3) == 3
    add(files, range(3, 25))
    assert files.flush([0], 30)
    assert written(objects) == expected(range(3, 25))
    claims = [key for key in objects.content if key.startswith("_ranges/in/p0/")]
    assert [int(key.rpartition("/")[2][:20]) for key in claims] == [3, 10, 20]
    assert files.durable(0, 25) == 25
    assert files_in(objects).begin(0, 21) == 25


@pytest.mark.slow
@settings(max_examples=amount(15, 200))
@given(
    st.lists(
        st.tuples(
            st.integers(1, 30), st.integers(1, 12), st.integers(3, 20), st.integers(0, 12), st.booleans()
        ),
        max_size=5,
    )
)
def test_every_record_is_written_once_wherever_a_process_ends(runs):
    """Each run reads on from what was committed, in other batches, and ends after some creations."""
    log = [offset for offset in range(80) if offset % 11 != 4]
    objects, committed = MortalObjects(), 0
    for n_batches, size, rows, n_creations, commits in [*runs, (1000, 9, 10, None, True)]:
        files = files_in(objects, rows)
        start = files.begin(0, committed)
        objects.left = n_creations
        todo = [offset for offset in log if offset >= start]
        for first in range(0, min(len(todo), n_batches * size), size):
            add(files, todo[first : first + size])
            files.tick()
        position = (todo[min(len(todo), n_batches * size) - 1] + 1) if todo else start
        files.flush([0], 0.05 if n_creations is not None else 30)
        if commits:
            committed = files.durable(0, position)
        files.close()
    assert written(objects) == expected(log)


@pytest.mark.slow
@settings(max_examples=amount(15, 200))
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from(["read", "flush"]), st.integers(1, 15)), max_size=25
    )
)
def test_two_owners_write_every_record_once(steps):
    log = [offset for offset in range(80) if offset % 11 != 4]
    objects = MortalObjects()
    owners = [files_in(objects, 20), files_in(objects, 20)]
    position = [owner.begin(0, 0) for owner in owners]

    def read(who, n):
        if offsets := [o for o in log if o >= position[who]][:n]:
            add(owners[who], offsets)
            position[who] = offsets[-1] + 1

    for who, what, n in steps:
        if what == "read":
            read(who, n)
        else:
            owners[who].flush([0], 30)
    for who in (0, 1):
        read(who, 1000)
        assert owners[who].flush([0], 30)
    assert written(objects) == expected(log)


def test_a_range_is_finished_also_where_the_log_lost_its_beginning_or_its_end():
    objects = MortalObjects()
    files = files_in(objects)
    files.begin(0, 0)
    add(files, range(10))
    objects.left = 2  # the claim and a file
    assert not files.flush([0], 0.2)
    objects.left = None
    again = files_in(objects)
    assert again.begin(0, 0) == 0
    add(again, range(4, 7))  # retention took what was before
    assert again.flush([0], 30)
    assert again.durable(0, 7) == 0
    assert again.flush([0], 30, is_cut=True)
    assert again.durable(0, 7) == 7
    found = written(objects)
    assert len(found) == len(set(found))
    assert set(expected(range(4, 7))) <= set(found)
    other = files_in(objects)
    assert other.begin(0, 0) == 0
    add(other, range(12, 15))  # all of the range is gone
    assert other.flush([0], 30)
    assert set(expected(range(12, 15))) <= set(written(objects))


def test_a_partition_that_waits_for_a_range_is_read_however_full_the_memory_is():
    objects = MortalObjects()
    files = files_in(objects)
    files.begin(0, 0)
    add(files, range(10))
    objects.left = 1
    assert not files.flush([0], 0.2)
    objects.left = None
    again = OffsetFiles(objects, Rotation(10), {}, lambda p: ("in", p), partitions=FIELDS, max_bytes=1)
    again.begin(0, 0)
    add(again, range(6))
    assert again.full == []
    add(again, range(6, 12))
    wait_for(again.tick, "the range", lambda _: again.durable(0, 12) >= 10, pause=0.001)


def test_too_many_folders_or_too_long_names_are_refused_before_anything_is_written():
    objects = MortalObjects()
    for name, values, reason in (
        ("kind", [str(i) for i in range(1001)], "makes 1,001 folders of 1,001 rows"),
        ("kind", ["x" * 300], "too long for a folder"),
    ):
        files = files_in(objects, 5000, parse_partition_by(name))
        files.begin(0, 0)
        batch = pa.record_batch({"kind": values, "n": range(len(values))})
        files.add(0, np.arange(len(values)), batch)
        with pytest.raises(ConfigurationError, match=reason):
            wait_for(lambda files=files: files.flush([0], 30), "an error")
    assert objects.content == {}
