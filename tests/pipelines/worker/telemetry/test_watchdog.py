import threading
import time

from patience import PATIENCE

from pipelines.worker.telemetry.watchdog import watch


def watched(last_turn, stopping, **options):
    ended = threading.Event()
    codes = []

    def end(code):
        codes.append(code)
        ended.set()

    over = watch(last_turn, stopping, 0.2, end=end, every=0.01, **options)
    return ended, codes, over


def test_a_loop_that_is_stuck_ends_the_process():
    begin = time.monotonic()
    ended, codes, _ = watched(lambda: begin, threading.Event())
    assert ended.wait(PATIENCE)
    assert codes == [1]


def test_a_stop_that_takes_too_long_ends_the_process():
    stopping = threading.Event()
    ended, codes, _ = watched(time.monotonic, stopping, stop_seconds=0.1)
    assert not ended.wait(0.3)
    stopping.set()
    assert ended.wait(PATIENCE)
    assert codes == [1]


def test_a_worker_that_is_alive_or_over_is_left_alone():
    stopping = threading.Event()
    ended, codes, over = watched(time.monotonic, stopping, stop_seconds=0.1)
    over.set()
    stopping.set()
    assert not ended.wait(0.4)
    assert codes == []
