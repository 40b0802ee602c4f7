"""Workers that are killed, stopped and moved while numbered records go through: none is lost or repeated.

In CI each fault happens once; `make soak` repeats it, on three brokers where brokers are stopped.
"""

import json
import time
import uuid
from dataclasses import asdict

import pytest
from amounts import SOAK, amount
from brokers import kafka as run_kafka
from faults.s3 import lossy_proxy
from faults.scenarios import PATIENT, SCENARIOS, Stage
from faults.workers import Rig
from patience import wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow]
RATE = 2000  # records a second
TOLD_TO_END = {0, -15}  # the latter before the worker had begun
CODES = {  # beside these; 1 is a worker that was away for too long
    "kill": {1, -9},
    "terminate": set(),
    "away": {1, -9},
    "closed": {1, -9},
    "bad in a row": {-9},
    "again": {1, 2},  # 2: it has found another topic
}


@pytest.fixture(scope="module")
def cluster():
    """Brokers of their own, which are stopped: of three, one at a time may be killed."""
    with run_kafka(nodes=amount(1, 3)) as brokers:
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


def check(rig, verdict, codes):
    """Everything in one place with its values, and each once if delivery is so; no other exit code."""
    assert verdict.is_right if rig.exact else verdict.is_complete, (verdict, rig.log()[-3000:])
    assert set(rig.codes) <= codes, (rig.codes, rig.log()[-3000:])


@pytest.mark.parametrize("name", [name for name, one in SCENARIOS.items() if SOAK or one.times[0]])
def test_nothing_is_lost_and_nothing_comes_twice(name, stage, tmp_path, record_property):
    scenario = SCENARIOS[name]
    with stage.set(scenario, tmp_path) as (rig, fault):
        rig.start(2)
        rig.wait_until_ready()
        with rig.writing(RATE):
            for _ in range(scenario.n_faults):
                rig.wait_for_progress()
                fault()
            rig.wait_for_progress()
        verdict = rig.verdict()
        record_property(
            "faults", json.dumps((name, scenario.n_faults, {**asdict(verdict), "restarts": rig.restarts}))
        )
        check(rig, verdict, TOLD_TO_END | CODES.get(scenario.fault, {1}))
        if scenario.fault == "kill":
            assert rig.restarts >= scenario.n_faults
        assert "records are bad, more than" not in rig.log()
        if scenario.fault == "bad in a row":
            assert rig.restarts >= 2 * scenario.n_faults
        if scenario.fault == "terminate":  # whatever the delivery
            assert (verdict.repeated, verdict.dead_repeated) == (0, 0)
        if scenario.fault == "away":
            assert "from the local cache" in rig.log()
            assert "minilm@1" in rig.versions
        if scenario.fault == "damage":
            assert "is refused, keeping minilm@1" in rig.log()
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
        with Rig(kafka, model, tmp_path, output=output, environment=environment, **PATIENT) as rig:
            rig.start(1)
            with rig.writing(rate=10_000):
                wait_for(lambda: rig.n_written, "20,000 records", lambda n: n >= 20_000)
            verdict = rig.verdict()
            check(rig, verdict, {0})
            assert rig.restarts == 0
            assert rig.log().count('"message":"assigned') == 1
