"""Messages as batches of the Kafka source, without a broker."""

import json

import numpy as np
import pyarrow as pa
import pytest
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from faults.messages import FakeMessage

from pipelines.beam.streaming.batch import Windows, bad_rows
from pipelines.beam.streaming.sources import kafka_batch
from pipelines.beam.streaming.sources.kafka_batch import BatchDecoder
from pipelines.beam.streaming.watermark import OPEN, WatermarkPolicy

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
