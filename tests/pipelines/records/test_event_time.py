from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.errors import InputError
from pipelines.records.event_time import EARLIEST, LATEST, NO_TIME, event_times

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MICROS = round(NOON.timestamp() * 1e6)
NAIVE = NOON.replace(tzinfo=None)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([NOON], pa.timestamp("ms", "Europe/Oslo")),
        pa.array([NAIVE], pa.timestamp("ns")),
        pa.array([NAIVE], pa.timestamp("s")).dictionary_encode(),
        pa.array(["2026-01-31T12:00:00Z"]),
        pa.array(["2026-01-31T13:00:00+01:00"], pa.large_string()),
        pa.array(["2026-01-31 12:00:00"]),
        pa.array([NOON.timestamp()]),
        pa.array([round(NOON.timestamp() * 1e3)], pa.int64()),
        pa.array([MICROS]),
        pa.array([MICROS * 1000]),
        pa.array([Decimal(MICROS)], pa.decimal128(38, 9)),
    ],
)
def test_times_are_read_from_whatever_holds_them(values):
    assert event_times(values).tolist() == [MICROS]
    assert event_times(values).dtype == np.int64


def test_what_cannot_be_read_has_no_time():
    texts = pa.array(
        [None, "", "yesterday", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00", "2026-01-31T14+02:00"]
    )
    assert event_times(texts).tolist() == [NO_TIME] * 3 + [MICROS] * 3
    assert event_times(pa.array([None, np.nan, np.inf, 1e300, 0.5])).tolist() == [NO_TIME] * 4 + [500_000]
    assert event_times(pa.nulls(2)).tolist() == [NO_TIME] * 2
    assert event_times(pa.array([None, NOON], pa.timestamp("us", "UTC"))).tolist() == [NO_TIME, MICROS]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36"),
        ("[10/Oct/2000:13:55:36 +0000]", "2000-10-10T13:55:36"),
        ("10/Oct/2000:13:55:36", "2000-10-10T13:55:36"),
        ("10/Oct/2000:13:55:36.250 +0200", "2000-10-10T11:55:36.250"),
        ("Tue, 10 Oct 2000 13:55:36 -0700", "2000-10-10T20:55:36"),
        ("Tue, 10 Oct 2000 13:55:36 GMT", "2000-10-10T13:55:36"),
        ("10 Oct 2000 13:55:36 +0530", "2000-10-10T08:25:36"),
        ("Tue, 10 Oct 2000 13:55 -0000 (UTC)", "2000-10-10T13:55:00"),
        ("971186136", "2000-10-10T13:55:36"),
        ("971186136.5", "2000-10-10T13:55:36.500"),
        ("971186136000", "2000-10-10T13:55:36"),
    ],
)
def test_times_of_logs_and_mails_are_read(text, expected):
    micros = int(np.datetime64(expected, "us").astype(np.int64))
    assert event_times(pa.array([text])).tolist() == [micros]
    mixed = pa.array([text, "2026-01-31T12:00:00Z", None, "31/Feb/2000:13:55:36 -0700", f" {text} "])
    assert event_times(mixed).tolist() == [micros, MICROS, NO_TIME, NO_TIME, micros]


@pytest.mark.parametrize(
    "text",
    ["5", "2026", "12:30", "yesterday", "Tue, 10 Oct 2000", "1 2 3 4 5", "Oct 10 13:55:36", "1e12", "٣" * 9],
)
def test_other_texts_are_no_times(text):
    assert event_times(pa.array([text])).tolist() == [NO_TIME]


def test_days_begin_at_midnight_utc():
    assert event_times(pa.array([date(2026, 1, 31)])).tolist() == [MICROS - 12 * 3600 * 10**6]


def test_other_types_are_no_times():
    with pytest.raises(InputError, match=r"event times cannot be struct.*: name a field of timestamps"):
        event_times(pa.array([{"a": 1}]))


@given(st.lists(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)), min_size=1), st.integers(-12, 12))
def test_texts_of_any_zone_are_that_moment(times, hours):
    zone = timezone(timedelta(hours=hours))
    aware = [time.replace(tzinfo=zone) for time in times]
    expected = [(time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for time in aware]
    assert event_times(pa.array([time.isoformat() for time in aware])).tolist() == expected


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_times_of_no_calendar_are_outside_of_the_bounds(unit):
    ends = pa.array([-(2**63) + 1, None, 2**63 - 1]).cast(pa.timestamp(unit))
    assert event_times(ends).tolist() == [EARLIEST - 1, NO_TIME, LATEST + 1]


@pytest.mark.parametrize(
    ("values", "micros"),
    [
        (pa.array([-(2**31), 2**31 - 1], pa.int32()).cast(pa.date32()), [EARLIEST - 1, LATEST + 1]),
        (pa.array(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]), [EARLIEST, LATEST]),
        (pa.array(["0001-01-01T00:00+01:00", "9999-12-31T23:59-01:00"]), [EARLIEST - 1, LATEST + 1]),
        (pa.array(["Monday", "0001-01-01T00:00:00.000001"]), [NO_TIME, EARLIEST + 1]),
        (pa.array([1e21, -1e21]), [LATEST + 1, EARLIEST - 1]),
        (pa.array([-62_135_596_800, -62_135_596_800_000, -62_135_596_800_000_000]), [EARLIEST] * 3),
        (pa.array([-1, 1, 999, 1000]).cast(pa.timestamp("ns")), [-1, 0, 0, 1]),
        (
            pa.array([date(1, 1, 1), date(9999, 12, 31)], pa.date64()),
            [EARLIEST, LATEST // 86_400_000_000 * 86_400_000_000],
        ),
    ],
)
def test_times_far_away(values, micros):
    assert event_times(values).tolist() == micros
