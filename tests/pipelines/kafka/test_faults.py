"""Workers that are killed, stopped and moved while numbered records go through: none is lost or repeated.

Each test is a few rounds of what `make soak` does for long.
"""

import itertools
import random
import shutil
import time
import uuid

import pytest
from brokers import kafka as run_kafka
from faults.s3 import lossy_proxy
from faults.workers import Rig

from encoder.store.store import ModelStore

pytestmark = [pytest.mark.server, pytest.mark.slow]
N = 40_000


@pytest.fixture(scope="module")
def cluster():
    """Three brokers: one of them may be killed."""
    with run_kafka(nodes=3) as brokers:
        yield brokers


@pytest.fixture
def rig(kafka, model, tmp_path):
    rigs = []

    def make(**options):
        rig = Rig(options.pop("broker", kafka), options.pop("model", model), tmp_path, **options)
        rigs.append(rig)
        return rig.__enter__()

    yield make
    for rig in rigs:
        rig.__exit__()


def check(rig, *, codes):
    """Nothing lost, nothing repeated, and no other exit code; 1 is a worker that was away for too long."""
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
    assert check(one, codes={0, 1, -9}).restarts >= 3


@pytest.mark.parametrize("output", ["topic", "parquet"])
def test_sigterm_repeats_nothing_whatever_the_delivery(output, rig):
    limits = ("session.timeout.ms=15000", "max.poll.interval.ms=20000")  # a busy machine is no fault here
    patient = [part for limit in limits for part in ("--property", limit)]
    one = rig(output=output, delivery="at-least-once", options=patient)
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
    check(one, codes={0, 1, -15})  # -15 is a SIGTERM before the worker had begun


@pytest.mark.parametrize(
    ("how", "delivery", "times"),
    [("clean", "exactly-once", 1), ("hard", "exactly-once", 3), ("hard", "at-least-once", 1)],
)
def test_brokers_restart(how, delivery, times, rig, cluster):
    one = rig(broker=cluster, delivery=delivery)
    nodes = itertools.cycle(range(3))

    def restart():
        (cluster.stop if how == "clean" else cluster.kill)(next(nodes))
        cluster.start()

    faults(one, restart, times)
    check(one, codes={0, 1})


def in_a_bucket(s3, port):
    """A folder in a bucket, and the environment of workers that reach it through a proxy."""
    environment = {**s3.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    return f"s3://{s3.bucket}/{uuid.uuid4().hex}", environment


def test_the_store_answers_errors(rig, s3_environment):
    chance = random.Random(1)

    def hide(method, path, _status):
        wanted = method == "PUT" and path.endswith(".parquet")
        return chance.choice(["", "", "503", "drop"]) if wanted else ""

    with lossy_proxy(s3_environment.port, hide) as port:
        uri, environment = in_a_bucket(s3_environment, port)
        one = rig(output=uri, environment=environment)
        faults(one, one.kill, 1)
        check(one, codes={0, 1, -9})


def test_a_slow_store_holds_partitions_and_the_worker_stays_in_its_group(rig, s3_environment):
    def slow(method, path, _status):
        time.sleep(2.0 if method == "PUT" and path.endswith(".parquet") else 0)
        return ""

    with lossy_proxy(s3_environment.port, slow) as port:
        uri, environment = in_a_bucket(s3_environment, port)
        one = rig(output=uri, environment=environment)
        one.start(1)
        with one.writing(N // 2, rate=10_000):
            pass
        verdict = check(one, codes={0})
    assert verdict.restarts == 0
    assert one.log().count('"message":"assigned') == 1


def test_a_damaged_model_is_refused_while_records_go_through(rig, model, tiny_model, tmp_path):
    store = ModelStore.open((tmp_path / "store/minilm").as_uri())
    store.publish(model)
    one = rig(model=store.uri, options=("--model-seconds", "0.2"))

    def publish():
        staging = tmp_path / "staging/minilm"
        shutil.copytree(tmp_path / "store/minilm", staging)
        bad = ModelStore.open(staging.as_uri()).publish(tiny_model(tmp_path / "bad", seed=8))
        new = {file.sha256 for file in bad.files} - {file.sha256 for file in store.manifest(1).files}
        for sha256 in new:
            (tmp_path / "store/minilm/blobs" / sha256).write_bytes(b"\0" * 100)
        shutil.copy(staging / "v/00000002.json", tmp_path / "store/minilm/v")
        time.sleep(3)
        store.publish(tiny_model(tmp_path / "good", seed=9))

    faults(one, publish, 1)
    check(one, codes={0, 1})
    assert one.versions == {"minilm@1", "minilm@3"}
    assert "version 2 is refused, staying with minilm@1" in one.log()
