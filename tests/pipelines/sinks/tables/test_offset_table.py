"""Rows and offsets in one commit: each record once, whoever else commits, and whatever replies get lost."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
from patience import PATIENCE

from encoder.errors import ConfigurationError, OtherInput, StoreUnavailable, TransientError
from pipelines.kafka.topic_ids import TopicId
from pipelines.sinks.input_claim import InputClaim
from pipelines.sinks.tables.markers import TableMarkers
from pipelines.sinks.tables.offset_table import OffsetTable
from pipelines.sinks.tables.port import Offset

SCHEMA = pa.schema([pa.field("offset", pa.int64(), nullable=False)])


def place(partition):
    return "in", partition


@pytest.fixture
def sink(open_events):
    """A worker's view of the table, which it has created."""

    def made(table=None, **options):
        table = table or open_events()
        table.create(table.stored(SCHEMA))
        return OffsetTable(table, seconds=1000.0, name_of=place, **options)

    return made


def add(sink, offsets, partition=0, **columns):
    sink.add(
        partition, np.array(offsets, np.int64), pa.record_batch({"offset": pa.array(offsets), **columns})
    )


def settle(sink, *partitions):
    assert sink.flush(partitions or [0, 1], PATIENCE)


def written(lake, form):
    return sorted(lake.rows(form)["offset"].to_pylist())


def test_rows_of_all_partitions_and_their_offsets_are_one_commit(sink, lake, form):
    one = sink()
    assert (one.begin(0, 3), one.begin(1, 0)) == (3, 0)
    add(one, [3, 4, 9])
    add(one, [100], partition=1)
    assert (one.durable(0, 10), one.durable(1, 101)) == (3, 100)
    settle(one)
    assert (one.durable(0, 10), one.durable(1, 101)) == (10, 101)
    assert written(lake, form) == [3, 4, 9, 100]
    assert lake.n_commits(form) == 1
    again = sink()
    assert (again.begin(0, 3), again.begin(1, 0), again.begin(2, 7)) == (10, 101, 7)


def test_a_worker_whose_partition_has_moved_appends_nothing_twice(sink, lake, form):
    stale, fresh = sink(), sink()
    stale.begin(0, 0), fresh.begin(0, 0)
    add(stale, [0, 1, 2, 3])
    add(fresh, [0, 1])
    settle(fresh)
    settle(stale)
    assert written(lake, form) == [0, 1, 2, 3]
    add(fresh, [2, 3, 4])
    settle(fresh)
    assert written(lake, form) == [0, 1, 2, 3, 4]


class Racing:
    """A table in which somebody else commits between each look and the append that follows."""

    def __init__(self, table, others):
        self._table, self._others = table, iter(others)
        self.uri = table.uri

    def __getattr__(self, name):
        return getattr(self._table, name)

    def look(self):
        state, append = self._table.look(), None
        append = state.append

        def after_others(files, offsets):
            next(self._others, lambda: None)()
            append(files, offsets)

        state.append = after_others
        return state


def test_of_two_commits_at_once_that_hold_the_same_records_one_counts(sink, lake, form, open_events):
    fresh = sink()
    fresh.begin(0, 0)
    add(fresh, [0, 1, 2])
    stale = sink(Racing(open_events(), [lambda: settle(fresh)]))
    stale.begin(0, 0)
    add(stale, [0, 1, 2, 3, 4])
    settle(stale)
    assert written(lake, form) == [0, 1, 2, 3, 4]
    assert stale.durable(0, 5) == 5


def test_a_commit_beside_a_foreign_append_and_a_compaction_happens_once(sink, lake, form, open_events):
    first = sink()
    first.begin(0, 0)
    add(first, [0, 1])
    settle(first)
    foreign = pa.table({"offset": pa.array([-1], pa.int64())})
    others = [lambda: lake.append(form, foreign), lambda: lake.compact(form)]
    one = sink(Racing(open_events(), others))
    assert one.begin(0, 0) == 2
    add(one, [2, 3])
    settle(one)
    assert written(lake, form) == [-1, 0, 1, 2, 3]
    assert not any("retry" in name for name in lake.properties(form))  # others may still retry as they like
    lake.append(form, foreign)  # its snapshot has no offsets
    assert sink().begin(0, 0) == 4


def test_a_commit_whose_reply_is_lost_is_not_repeated(sink, lake, form, open_events):
    class Lossy(Racing):
        def look(self):
            state = self._table.look()
            append = state.append

            def without_reply(files, offsets):
                append(files, offsets)
                raise StoreUnavailable("the reply is lost")

            state.append = without_reply
            return state

    one = sink(Lossy(open_events(), []))
    one.begin(0, 0)
    add(one, [0, 1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.sinks.tables.offset_table._RETRY_SECONDS", 0.0)
        settle(one)
    assert written(lake, form) == [0, 1]
    assert lake.n_commits(form) == 1


@pytest.mark.parametrize("form", ["iceberg"], indirect=True)
def test_offsets_outlive_the_snapshots_that_brought_them(sink, lake, form):
    one = sink()
    one.begin(0, 0)
    add(one, [0, 1])
    settle(one)
    ours = lake.iceberg().current_snapshot().snapshot_id
    lake.append(form, pa.table({"offset": pa.array([-1], pa.int64())}))
    lake.iceberg().maintenance.expire_snapshots().by_id(ours).commit()
    assert lake.iceberg().snapshot_by_id(ours) is None
    assert sink().begin(0, 0) == 2


@pytest.mark.parametrize("form", ["iceberg"], indirect=True)
@pytest.mark.usefixtures("form")
def test_a_table_that_is_rolled_back_gives_back_its_offsets(sink, lake):
    one = sink()
    one.begin(0, 0)
    for offsets in ([0, 1], [2, 3]):
        add(one, offsets)
        settle(one)
    table = lake.iceberg()
    table.manage_snapshots().rollback_to_snapshot(table.current_snapshot().parent_snapshot_id).commit()
    assert sink().begin(0, 0) == 2


def test_offsets_that_come_again_are_of_another_epoch(sink, lake, form):
    one = sink()
    one.begin(0, 0)
    add(one, [0, 1, 2, 3])
    settle(one)
    cut = sink()
    assert cut.begin(0, 2, epoch=1) == 2
    add(cut, [2])
    settle(cut)
    again = sink()
    assert (again.begin(0, 0), again.epoch(0)) == (3, 1)
    add(one, [4, 5])
    with pytest.raises(TransientError, match="after its log was cut: restart the worker"):
        settle(one)
    assert written(lake, form) == [0, 1, 2, 2, 3]


def test_commits_wait_for_the_interval_and_come_early_when_memory_is_short(sink, lake, form):
    now = 0.0
    one = sink(clock=lambda: now, max_bytes=160)
    one.begin(0, 0)
    add(one, [0, 1])
    one.tick()
    now = 999.0
    one.tick()
    assert one.durable(0, 2) == 0
    add(one, list(range(2, 12)))  # half of the memory
    assert not one.full
    add(one, list(range(12, 22)))
    assert one.full == [0]
    one.tick()
    settle(one)
    assert written(lake, form) == list(range(22))
    add(one, [22])
    now = 5000.0
    one.tick()
    settle(one, 1)  # it has no rows: only the interval commits those of partition 0
    settle(one)
    assert written(lake, form) == list(range(23))


def test_columns_of_new_heads_are_added_and_types_never_change(sink, lake, form):
    one = sink()
    one.begin(0, 0)
    add(one, [0])
    add(one, [1], kind_label=pa.array(["a"]).dictionary_encode(), kind_score=pa.array([0.5], pa.float16()))
    add(one, [2])
    settle(one)
    rows = {row["offset"]: row for row in lake.rows(form).to_pylist()}
    assert rows[1] == {"offset": 1, "kind_label": "a", "kind_score": 0.5}
    assert rows[0]["kind_label"] is rows[2]["kind_score"] is None
    add(one, [3], kind_score=pa.array(["high"]))
    with pytest.raises(
        ConfigurationError, match=r"a column 'kind_score' of type float, and records have str"
    ):
        settle(one)
    assert written(lake, form) == [0, 1, 2]


def test_files_have_a_target_size(sink, lake, form):
    one = sink(file_bytes=800)
    one.begin(0, 0)
    add(one, list(range(1000)))
    settle(one)
    files = lake.iceberg().inspect.files() if form == "iceberg" else lake.delta().file_uris()
    assert len(files) == 10
    assert lake.n_commits(form) == 1


def test_another_topic_of_the_same_name_has_offsets_of_its_own(sink, lake, form, open_events):
    first, other = TopicId("cluster", "one"), TopicId("cluster", "other")
    markers = TableMarkers(open_events())
    sink()
    known = InputClaim.look_at(markers, "in", first).take()
    one = sink(claim=lambda _topic: known)
    one.begin(0, 0)
    add(one, [0, 1])
    settle(one)
    assert "millstream.input.in" in lake.properties(form)
    with pytest.raises(OtherInput):
        InputClaim.look_at(markers, "in", other)
    accepted = InputClaim.look_at(markers, "in", other, accept=True).take()
    again = sink(claim=lambda _topic: accepted)
    assert again.begin(0, 0) == 0
    add(again, [0])
    settle(again)
    assert written(lake, form) == [0, 0, 1]


def test_the_first_marker_counts(open_events, sink):
    sink()
    one, other = TableMarkers(open_events()), TableMarkers(open_events())
    assert one.stat("_worker.json") is None
    assert one.create("_worker.json", b'{"text": 1}')
    assert not other.create("_worker.json", b'{"text": 2}')
    assert other.read("_worker.json") == b'{"text": 1}'


def test_a_table_that_is_gone_ends_the_worker(sink, lake, form):
    one = sink()
    one.begin(0, 0)
    add(one, [0])
    if form == "iceberg":
        lake.catalog().drop_table("fraud.events")
    else:
        shutil.rmtree(lake.folder / "delta")
    with pytest.raises(
        ConfigurationError, match=r"there is no table .* any more: a worker that starts creates"
    ):
        settle(one)


def test_an_offset_is_none_before_the_first_row(open_events, sink):
    sink()
    assert open_events().look().offset("in/0") is None
    state = open_events().look()
    state.append([], {"in/0": Offset(0, 7)})
    assert open_events().look().offset("in/0") == Offset(0, 7)


def test_records_wait_until_the_other_outputs_have_them(sink, lake, form):
    one = sink(waits=True, max_bytes=160)
    one.begin(0, 0)
    add(one, [0, 1])
    assert one.flush([0], 0.0)  # nothing is confirmed
    assert (one.durable(0, 2), lake.n_commits(form)) == (0, 0)
    one.take_back()
    add(one, [0, 1, 2])
    assert not one.needs_confirm
    add(one, [3, 4])
    assert one.needs_confirm
    one.confirm()
    add(one, [5])
    settle(one)
    assert written(lake, form) == [0, 1, 2, 3, 4]
    assert one.durable(0, 6) == 5
    one.take_back()
    add(one, [5, 6])
    one.confirm()
    settle(one)
    assert written(lake, form) == [0, 1, 2, 3, 4, 5, 6]
