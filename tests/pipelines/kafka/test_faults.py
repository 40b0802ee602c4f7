"""Workers that are killed, stopped and moved while numbered records go through: none is lost or repeated.

Each test is a few rounds of what `make soak` does for long.
"""

import time
import uuid

import pytest
from brokers import kafka as run_kafka
from faults.s3 import lossy_proxy
from faults.scenarios import SCENARIOS, Stage
from faults.workers import Rig

pytestmark = [pytest.mark.server, pytest.mark.slow]
N = 40_000
CODES = {  # beside 0; 1 is a worker that was away for too long
    "kill": {1, -9},
    "terminate": {-15},  # before the worker had begun
    "churn": {1, -15},
    "away": {1, -9},
    "closed": {1, -9},
}
SKIPPED = {  # the same with less in it; `make soak` has them
    "SIGSTOP past the session, at least once",
    "1 to 3 workers, at least once",
    "network cut for 20 s, at least once",
}


@pytest.fixture(scope="module")
def cluster():
    """Three brokers: one of them may be killed."""
    with run_kafka(nodes=3) as brokers:
        yield brokers


@pytest.fixture
def stage(request, model):
    get = request.getfixturevalue
    return Stage(
        broker=lambda: get("kafka"),
        cluster=lambda: get("cluster"),
        s3=lambda: get("s3_environment"),
        model=model,
    )


def check(rig, codes):
    """Nothing lost, nothing repeated, and no other exit code."""
    verdict = rig.verdict()
    assert (verdict.lost, verdict.dead_wrong) == (0, 0), (verdict, rig.log()[-3000:])
    if rig.exact:
        assert (verdict.repeated, verdict.dead_repeated) == (0, 0), (verdict, rig.log()[-3000:])
    assert set(verdict.codes) <= codes, (verdict, rig.log()[-3000:])
    return verdict


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in SKIPPED])
def test_nothing_is_lost_and_nothing_comes_twice(name, stage, tmp_path):
    scenario = SCENARIOS[name]
    with stage.set(scenario, tmp_path) as (rig, fault):
        rig.start(2)
        rig.wait_until_ready()
        with rig.writing(N):
            for _ in range(scenario.few):
                time.sleep(scenario.pause)
                fault()
        verdict = check(rig, {0} | CODES.get(scenario.fault, {1}))
        if scenario.fault == "kill":
            assert verdict.restarts >= scenario.few
        if scenario.fault == "terminate":  # whatever the delivery
            assert (verdict.repeated, verdict.dead_repeated) == (0, 0)
        if scenario.fault == "away":
            assert "from this machine's cache" in rig.log()
            assert "minilm@1" in rig.versions
        if scenario.fault == "damage":
            assert "is refused, staying with minilm@1" in rig.log()
            assert "minilm@1" in rig.versions
            assert "minilm@2" not in rig.versions


def test_a_slow_store_holds_partitions_and_the_worker_stays_in_its_group(
    kafka, model, tmp_path, s3_environment
):
    def slow(method, path, _status):
        time.sleep(2.0 if method == "PUT" and path.endswith(".parquet") else 0)
        return ""

    s3 = s3_environment
    with lossy_proxy(s3.port, slow) as port:
        environment = {**s3.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        output = f"s3://{s3.bucket}/{uuid.uuid4().hex}"
        with Rig(kafka, model, tmp_path, output=output, environment=environment) as rig:
            rig.start(1)
            with rig.writing(N // 2, rate=10_000):
                pass
            verdict = check(rig, {0})
            assert verdict.restarts == 0
            assert rig.log().count('"message":"assigned') == 1
