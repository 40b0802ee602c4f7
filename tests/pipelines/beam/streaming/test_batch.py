from dataclasses import replace

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.beam.streaming.batch import ROW, SOURCE, SourceBatch, Windows, bad_batch, bad_rows
from pipelines.beam.streaming.watermark import OPEN
from pipelines.kafka.messages import NO_TIMESTAMP
from pipelines.records.bad_rows import BadRow, Envelope
from pipelines.records.event_time import EARLIEST, NO_TIME

SECOND = 10**6
UNREAD = BadRow("a.jsonl", 99, "not JSON", b"oops\xff")


def batch(times, watermark=OPEN, bad=()):
    n = len(times)
    records = pa.record_batch({"id": pa.array(range(n), pa.int64())})
    micros = np.array([NO_TIME if t is None else round(t * SECOND) for t in times], np.int64)
    return SourceBatch("a.jsonl", records, np.arange(1, n + 1), micros, bad, watermark, 77 * SECOND)


def good(part):
    return part.good["id"].to_pylist()


def test_rows_go_to_their_windows():
    slices = list(Windows(10 * SECOND).slices(batch([3, 12, 9.9, 10, 25])))
    assert [(micros // SECOND, good(part)) for micros, part in slices] == [
        (9, [0, 2]),
        (12, [1, 3]),
        (25, [4]),
    ]
    for _, part in slices:
        assert part.good.schema.names == ["id", SOURCE, ROW]
        assert part.good[ROW].to_pylist() == [i + 1 for i in good(part)]
        assert set(part.good[SOURCE].to_pylist()) == {"a.jsonl"}
        assert part.bad.num_rows == 0


def test_late_rows_are_taken_while_their_window_waits_for_them():
    windows = Windows(10 * SECOND, lateness=5 * SECOND)
    assert [good(part) for _, part in windows.slices(batch([3], 14 * SECOND))] == [[0]]
    [(micros, part)] = windows.slices(batch([3], 15 * SECOND))
    assert micros == 15 * SECOND
    assert good(part) == []
    assert bad_rows([part.bad]) == [BadRow("a.jsonl", 1, "too late: its window is closed", b'{"id":0}')]


def test_untimely_records_are_bad_rows_and_do_not_count_as_the_latest():
    early, late = EARLIEST / SECOND - 1, 4e9
    whole = replace(batch([3, late, None, early, 7], bad=(UNREAD,)), keys=tuple(map(str.encode, "abcde")))
    found = whole.timely(100 * SECOND)
    assert found.latest == found.timestamp == 7 * SECOND
    assert found.records["id"].to_pylist() == [0, 2, 4]
    assert found.rows.tolist() == [1, 3, 5]
    assert found.keys == (b"a", b"c", b"e")
    assert found.bad == (
        UNREAD,
        BadRow(
            "a.jsonl",
            2,
            "the event time 2096-10-02T07:06:40Z is too far ahead of the clock (--max-ahead)",
            b'{"id":1}',
        ),
        BadRow("a.jsonl", 4, "the event time is not in the years 1 to 9999", b'{"id":3}'),
    )


def test_bad_rows_alone_are_not_in_a_window_of_the_future():
    found = replace(batch([4e9]), ingestion_time=4_000_000_000 * SECOND).timely(100 * SECOND)
    assert found.timestamp == 100 * SECOND


def test_a_batch_of_timely_records_is_itself():
    whole = batch([3, None, 7])
    assert whole.timely(100 * SECOND) is whole


def test_bad_rows_go_with_a_window_that_is_open():
    windows = Windows(10 * SECOND, field="at")
    *_, (micros, part) = windows.slices(batch([12, None], 3 * SECOND, bad=(UNREAD,)))
    assert micros == 12 * SECOND
    assert bad_rows([part.bad]) == [
        BadRow("a.jsonl", 2, "no event time in the field at", b'{"id":1}'),
        UNREAD,
    ]
    [(micros, _)] = windows.slices(batch([None]))
    assert micros == 77 * SECOND  # the source's own time, since nothing else is known


def test_a_time_that_cannot_be_read_is_shown():
    records = pa.record_batch(
        {"event": [{"at": "10.10.2000"}, {"at": None}, {"at": "x" * 100}, {"at": "971186136"}]}
    )
    windows = Windows(10 * SECOND, field="event.at")
    times = windows.event_times(records, np.zeros(4, np.int64))
    found = SourceBatch("a.jsonl", records, np.arange(1, 5), times, (), 0, 0)
    *_, (_, part) = windows.slices(found)
    reasons = [bad.reason for bad in bad_rows([part.bad])]
    formats = (
        "in the field event.at: write ISO 8601, RFC 2822, the times of Apache's logs, or numbers since 1970"
    )
    assert reasons == [
        f"cannot read the event time '10.10.2000' {formats}",
        "no event time in the field event.at",
        f"cannot read the event time '{'x' * 60}…' {formats}",
    ]


def test_the_time_of_a_record_is_that_of_its_field_or_its_sources():
    batch = pa.record_batch({"event": [{"at": 5}, {"at": None}]})
    own = np.array([7, 7])
    assert Windows(1).event_times(batch, own) is own
    assert Windows(1, field="event.at").event_times(batch, own).tolist() == [5 * SECOND, NO_TIME]
    assert Windows(1, field="nope").event_times(batch, own).tolist() == [NO_TIME] * 2


def test_bad_rows_travel_and_are_there_once():
    other = BadRow("b.jsonl", 1, "why", b"")
    message = BadRow("topic/0", 7, "why", None, Envelope(b"k", (("h", b"\xff"), ("h", None)), -7))
    plain = BadRow("topic/0", 8, "why", b"x", Envelope())
    sent = [bad_batch([other, UNREAD]), bad_batch([]), bad_batch([UNREAD, plain, message])]
    assert bad_rows(sent) == [UNREAD, other, message, plain]


@given(
    st.lists(st.none() | st.integers(0, 100)),
    st.integers(1, 20),
    st.integers(0, 20),
    st.integers(-50, 150),
)
def test_every_row_is_somewhere_once_and_in_its_window(times, size, lateness, watermark):
    windows = Windows(size * SECOND, lateness * SECOND)
    seen = []
    for micros, part in windows.slices(batch(times, watermark * SECOND)):
        start = micros // (size * SECOND) * size
        assert start + size + lateness > watermark, "the runner would drop it"
        for i in good(part):
            assert start <= times[i] < start + size
        seen += [*good(part), *(row - 1 for row in part.bad["row"].to_pylist())]
    assert sorted(seen) == list(range(len(times)))


def test_rows_are_selected_by_their_numbers_and_may_be_bad_afterwards():
    deleted = BadRow("events/0", 2, "a delete", None, Envelope(b"k"))
    whole = replace(batch([1, 2, 3, 4], bad=(UNREAD,)), rows=np.array([1, 3, 4, 6]), deletes=(deleted,))
    part = whole.select({2, 3, 6})
    assert (part.rows.tolist(), part.records["id"].to_pylist()) == ([3, 6], [1, 3])
    assert (part.deletes, part.bad) == ((deleted,), ())
    assert part.bad_number(6, "refused") == whole.bad_number(6, "refused") == part.bad_row(1, "refused")
    assert part.bad_number(2, "refused") == replace(deleted, reason="refused")


def test_bad_rows_of_messages_are_as_the_messages_came():
    records = pa.record_batch({"id": [1, 2]})
    whole = SourceBatch(
        "topic/0",
        records,
        np.array([7, 8]),
        np.array([0, 0]),
        (),
        OPEN,
        0,
        (b"a", None),
        values=(b'{"id": 1, "more": 2}', b'{"id":2}'),
        headers=((("h", b"x"),), ()),
        timestamps=np.array([5, NO_TIMESTAMP]),
    )
    rest = whole.without({0: "why"})
    assert rest.bad == (
        BadRow("topic/0", 7, "why", b'{"id": 1, "more": 2}', Envelope(b"a", (("h", b"x"),), 5)),
    )
    assert (rest.records.to_pylist(), rest.rows.tolist(), rest.keys) == ([{"id": 2}], [8], (None,))
    assert rest.bad_row(0, "why") == BadRow("topic/0", 8, "why", b'{"id":2}', Envelope())
    assert whole.without({}) is whole
