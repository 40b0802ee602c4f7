"""Workers that are killed, stopped and moved while numbered records go through: none is lost or repeated.

Each test is a few rounds of what `make soak` does for long.
"""

import time

import pytest
from brokers import kafka as run_kafka
from faults.workers import Rig

pytestmark = [pytest.mark.server, pytest.mark.slow]
N = 40_000


@pytest.fixture(scope="module")
def own_broker():
    """A broker for these tests alone: they stop it."""
    with run_kafka() as broker:
        yield broker


@pytest.fixture
def rig(own_broker, model, tmp_path):
    rigs = []

    def make(**options):
        rig = Rig(own_broker, model, tmp_path, **options)
        rigs.append(rig)
        return rig.__enter__()

    yield make
    for rig in rigs:
        rig.__exit__()


def check(rig, *, codes):
    verdict = rig.verdict()
    assert (verdict.lost, verdict.dead_wrong) == (0, 0), (verdict, rig.log()[-3000:])
    if rig.exact:
        assert (verdict.repeated, verdict.dead_repeated) == (0, 0), (verdict, rig.log()[-3000:])
    assert set(verdict.codes) <= codes, (verdict, rig.log()[-3000:])
    return verdict


def faults(rig, fault, times, pause=3.0):
    rig.start(2)
    time.sleep(5)
    with rig.writing(N):
        for _ in range(times):
            time.sleep(pause)
            fault()


@pytest.mark.parametrize(
    ("output", "delivery", "protocol", "named"),
    [
        ("topic", "exactly-once", "classic", False),
        ("topic", "exactly-once", "classic", True),
        ("topic", "exactly-once", "consumer", False),
        ("topic", "at-least-once", "classic", False),
        ("parquet", "exactly-once", "classic", False),
        ("parquet", "at-least-once", "consumer", False),
    ],
)
def test_kill_9(output, delivery, protocol, named, rig):
    one = rig(output=output, delivery=delivery, protocol=protocol, named=named)
    faults(one, one.kill, 3)
    assert check(one, codes={0, -9}).restarts >= 3


@pytest.mark.parametrize("output", ["topic", "parquet"])
def test_sigterm_repeats_nothing_whatever_the_delivery(output, rig):
    one = rig(output=output, delivery="at-least-once")
    faults(one, one.terminate, 3)
    verdict = check(one, codes={0})
    assert (verdict.repeated, verdict.dead_repeated) == (0, 0)


@pytest.mark.parametrize("output", ["topic", "parquet"])
def test_a_worker_that_was_frozen_past_its_session_changes_nothing(output, rig):
    one = rig(output=output)
    faults(one, one.freeze, 1)
    check(one, codes={0, 1})


@pytest.mark.parametrize(("output", "protocol"), [("topic", "classic"), ("parquet", "consumer")])
def test_workers_come_and_go(output, protocol, rig):
    one = rig(output=output, protocol=protocol)
    faults(one, one.churn, 4, pause=4.0)
    check(one, codes={0})


@pytest.mark.parametrize("how", ["clean", "hard"])
def test_the_broker_restarts(how, rig, own_broker):
    one = rig()

    def restart():
        (own_broker.stop if how == "clean" else own_broker.kill)()
        own_broker.start()

    faults(one, restart, 1)
    check(one, codes={0, 1})
