"""The watermark of a source."""

from pipelines.beam.streaming.clock import Clock
from pipelines.beam.streaming.watermark import OPEN, Watermark, WatermarkPolicy
from pipelines.records.event_time import LATEST, NO_TIME

SECOND = 10**6


class Seconds:
    """Time that passes, and a wall clock that may be set."""

    def __init__(self, time):
        self.time, self.set_forward = time, 0.0
        self._clock = Clock(lambda: self.time + self.set_forward, lambda: self.time)

    def __call__(self):
        return self._clock


def test_the_latest_time_follows_the_clock_but_not_beyond_the_calendar():
    clock = Seconds(1000.0)
    policy = WatermarkPolicy(0, 0, 5 * SECOND, clock)
    assert policy.latest() == 1005 * SECOND
    clock.set_forward = 3600.0  # to what is right, at last
    assert policy.latest() == 4605 * SECOND
    clock.set_forward = -3600.0  # other machines go on as before
    assert policy.latest() == 1005 * SECOND
    clock.time = 1e12
    assert policy.latest() == LATEST


def watermark(start=OPEN, now=1000.0):
    clock = Seconds(now)
    policy = WatermarkPolicy(out_of_orderness=5 * SECOND, idle=10 * SECOND, clock=clock)
    return Watermark(policy, start), clock


def test_it_stays_behind_the_latest_record_and_never_goes_back():
    mark, _ = watermark()
    assert mark.micros == OPEN
    mark.observe(100 * SECOND)
    assert mark.micros == 95 * SECOND
    mark.observe(50 * SECOND)
    assert mark.micros == 95 * SECOND


def test_records_without_a_time_promise_nothing():
    mark, _ = watermark()
    mark.observe(NO_TIME)
    assert mark.micros == OPEN


def wait(mark, clock, seconds):
    """Look once a second, and find nothing."""
    for _ in range(seconds):
        clock.time += 1
        mark.observe_nothing()


def test_after_a_silence_it_goes_by_the_clock():
    mark, clock = watermark()
    wait(mark, clock, 10)
    assert mark.micros == OPEN
    wait(mark, clock, 1)
    assert mark.micros == (1011 - 10 - 5) * SECOND
    mark.observe(990 * SECOND)
    wait(mark, clock, 9)
    assert mark.micros == (1011 - 10 - 5) * SECOND


def test_a_process_that_stood_still_was_not_a_silent_source():
    mark, clock = watermark()
    clock.time += 3600
    mark.observe_nothing()
    mark.observe_nothing()
    assert mark.micros == OPEN
    wait(mark, clock, 8)
    assert mark.micros > 3600 * SECOND


def test_a_clock_that_is_set_forward_closes_no_windows():
    mark, clock = watermark()
    wait(mark, clock, 6)
    clock.set_forward = 3600.0
    wait(mark, clock, 5)
    assert mark.micros == (1011 - 10 - 5) * SECOND
    clock.set_forward = 0.0
    wait(mark, clock, 5)
    assert mark.micros == (1016 - 10 - 5) * SECOND


def test_a_clock_that_is_set_back_undoes_no_silence():
    mark, clock = watermark()
    wait(mark, clock, 9)
    clock.set_forward = -3600.0
    mark.observe_nothing()
    wait(mark, clock, 3)
    assert OPEN < mark.micros < 0


def test_it_goes_on_from_where_it_was():
    assert watermark(start=7 * SECOND)[0].micros == 7 * SECOND
