from pipelines.beam.event_time import NO_TIME
from pipelines.beam.watermark import OPEN, Promise, Watermark

SECOND = 10**6


class Clock:
    def __init__(self, time):
        self.time = time

    def __call__(self):
        return self.time


def watermark(start=OPEN, now=1000.0):
    clock = Clock(now)
    return Watermark(Promise(disorder=5 * SECOND, idle=10 * SECOND), start, clock), clock


def test_it_stays_behind_the_latest_record_and_never_goes_back():
    mark, _ = watermark()
    assert mark.micros == OPEN
    mark.see(100 * SECOND)
    assert mark.micros == 95 * SECOND
    mark.see(50 * SECOND)
    assert mark.micros == 95 * SECOND


def test_records_without_a_time_promise_nothing():
    mark, _ = watermark()
    mark.see(NO_TIME)
    assert mark.micros == OPEN


def test_after_a_silence_it_goes_by_the_clock():
    mark, clock = watermark()
    clock.time += 10
    mark.wait()
    assert mark.micros == OPEN
    clock.time += 1
    mark.wait()
    assert mark.micros == (1011 - 10 - 5) * SECOND
    mark.see(990 * SECOND)
    clock.time += 9
    mark.wait()
    assert mark.micros == (1011 - 10 - 5) * SECOND


def test_it_goes_on_from_where_it_was():
    assert watermark(start=7 * SECOND)[0].micros == 7 * SECOND
