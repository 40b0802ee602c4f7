"""Messages as batches of the Kafka source, without a broker."""

import json

import numpy as np
import pyarrow as pa
import pytest
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from arrow_messages import rows_of, stream_of
from faults.messages import FakeMessage

from pipelines.beam.streaming.batch import Windows, bad_rows
from pipelines.beam.streaming.sources import kafka_batch
from pipelines.beam.streaming.sources.kafka_batch import BatchDecoder
from pipelines.beam.streaming.watermark import OPEN, WatermarkPolicy
from pipelines.sinks.dead_letter_messages import dead_letter_headers

MILLIS = 1_764_000_000_000
SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string())])


def batch_of(values, times, window=60, **options):
    windows = Windows(window * 10**6)
    decoder = BatchDecoder("in", "json", SCHEMA, windows, WatermarkPolicy(0, 10**6), **options)
    messages = [
        FakeMessage(value, offset_=i, milliseconds=at)
        for i, (value, at) in enumerate(zip(values, times, strict=True))
    ]
    return windows, decoder.batch(0, messages, OPEN, "")


def record(number):
    return json.dumps({"id": number, "text": "login failed"}).encode()


@pytest.mark.parametrize("factor", [1000, 1_000_000])
def test_a_time_in_other_units_than_milliseconds_is_a_bad_row(factor):
    windows, batch = batch_of([record(0), record(1), record(2)], [MILLIS, MILLIS * factor, MILLIS])
    slices = list(windows.slices(batch))
    assert [row for _, one in slices for row in one.good["id"].to_pylist()] == [0, 2]
    [bad] = bad_rows(one.bad for _, one in slices)
    assert (bad.row, json.loads(bad.record)["id"]) == (1, 1)
    assert "not in the years 1 to 9999" in bad.reason
    assert batch.latest == MILLIS * 1000  # the watermark stays in this age


def test_a_batch_of_nothing_but_such_times_has_a_time_that_beam_takes():
    windows, batch = batch_of([record(0)], [2**63 - 1])
    [(micros, one)] = windows.slices(batch)
    assert one.bad.num_rows == 1
    assert Timestamp(micros=micros) <= MAX_TIMESTAMP


def test_every_time_has_a_window_or_a_reason():
    times = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 200).tolist()
    windows, batch = batch_of([record(i) for i in range(200)], times)
    slices = list(windows.slices(batch))
    assert sum(one.good.num_rows + one.bad.num_rows for _, one in slices) == 200


@pytest.mark.parametrize(("all_fields", "counts"), [(True, [{"x": 2}]), (False, [])])
def test_values_of_fields_that_no_column_holds_are_reported(all_fields, counts, monkeypatch):
    reported = []
    monkeypatch.setattr(kafka_batch, "report_left_out", reported.append)
    batch_of([b'{"id":1,"x":2}', b'{"id":2,"x":"a"}'], [MILLIS, MILLIS], all_fields=all_fields)
    assert reported == counts


def batches_of_rows(*messages, **options):
    decoder = BatchDecoder("in", "arrow", SCHEMA, Windows(60 * 10**6), WatermarkPolicy(0, 10**6), **options)
    found = []
    for offset, message in enumerate(messages):
        message.offset_, message.milliseconds = offset, MILLIS
        found.append(decoder.batch(3, [message], OPEN, "v"))
    return found


def test_an_arrow_message_is_a_source_of_numbered_rows():
    stream = stream_of({"id": [1, 2**70 % 7, 3], "text": ["a", "b", "c"]})
    empty = stream_of({"id": pa.array([], pa.int64())})
    rows, bad, nothing, delete = batches_of_rows(
        FakeMessage(stream, b"k", [("trace", b"1")]),
        FakeMessage(b"junk"),
        FakeMessage(empty),
        FakeMessage(None, b"k"),
    )
    assert (rows.source, rows.rows.tolist(), rows.version) == ("in/3/0", [0, 1, 2], "v")
    assert rows.records["text"].to_pylist() == ["a", "b", "c"]
    assert (rows.keys, rows.headers) == ((b"k",) * 3, ((("trace", b"1"),),) * 3)
    assert rows.times.tolist() == [MILLIS * 1000] * 3
    [letter] = bad.bad
    assert (letter.file, letter.row, letter.record) == ("in/3", 1, b"junk")
    assert (len(nothing.rows), nothing.bad, nothing.deletes) == (0, (), ())
    assert [(one.file, one.row) for one in delete.deletes] == [("in/3", 3)]
    late = rows.without({1: "too late"})
    assert late.rows.tolist() == [0, 2]
    assert rows_of(late.bad[0].record) == [{"id": 2**70 % 7, "text": "b"}]
    headers = dict(dead_letter_headers(late.bad[0]))
    assert headers["millstream_id"] == b"in/3/0:1"
    place = {name: headers[f"__connect.errors.{name}"] for name in ("topic", "partition", "offset", "row")}
    assert place == {"topic": b"in", "partition": b"3", "offset": b"0", "row": b"1"}


def test_rows_of_an_arrow_message_that_do_not_fit_are_bad_alone():
    unfit = stream_of({"id": [1.0, 1.5], "text": ["a", "b"], "more": ["x", "y"]})
    [batch] = batches_of_rows(FakeMessage(unfit), all_fields=True)
    assert batch.records.to_pylist() == [{"id": 1, "text": "a"}]
    assert [(one.file, one.row) for one in batch.bad] == [("in/3/0", 1)]
    assert rows_of(batch.bad[0].record) == [{"id": 1.5, "text": "b", "more": "y"}]
