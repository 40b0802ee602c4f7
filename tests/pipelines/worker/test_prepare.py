"""What a check leaves behind, on a real broker and object store: nothing."""

import json
import threading
import uuid

import obstore
import pytest
from obstore.store import S3Store
from plans import plan_of
from registry import schema_registry
from topics import unique, write_topic

from encoder.errors import ConfigurationError, NotInStore
from pipelines.worker.build import start
from pipelines.worker.prepare import check

pytestmark = pytest.mark.server

EVENTS = [json.dumps({"id": i, "text": "card used"}).encode() for i in range(50)]


@pytest.fixture
def registry():
    with schema_registry() as served:
        yield served


@pytest.fixture
def place(kafka, s3_environment, registry, model):
    """Where a worker reads and writes, and what is there now."""
    stem, bucket = unique("check"), s3_environment.bucket
    topics = {name: kafka.create_topic(f"{stem}-{name}", 2) for name in ("in", "out", "dead")}
    write_topic(kafka.address, topics["in"], EVENTS)

    def contents():
        admin = kafka.admin()
        groups = admin.list_consumer_groups().result().valid
        folder = obstore.list(S3Store(bucket), prefix=stem).collect()
        return {
            "objects": sorted(one["path"] for one in folder),
            "topics": sorted(name for name in admin.list_topics(timeout=10).topics if stem in name),
            "groups": sorted(group.group_id for group in groups if stem in group.group_id),
            "subjects": registry.subjects(),
        }

    about = {
        "brokers": kafka.address,
        "group": f"{stem}-group",
        "inputs": [topics["in"]],
        "model": str(model),
        "format": "avro",
        "schema_registry": registry.url,
    }

    def plan(output=topics["out"], folder=f"{bucket}/{stem}/out", **more):
        letters = {"dead_letters": f"topic:{topics['dead']}"}
        return plan_of(f"topic:{output}", f"parquet:s3://{folder}", **{**about, **letters, **more})

    return plan, contents, f"parquet:s3://{bucket}/{stem}/dead"


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
@pytest.mark.parametrize("dead_letters_in", ["topic", "bucket"])
def test_a_check_writes_nothing(delivery, dead_letters_in, place):
    plan, contents, dead_folder = place
    more = {"dead_letters": dead_folder} if dead_letters_in == "bucket" else {}
    before = contents()
    assert len(before["topics"]) == 3
    found = check(plan(delivery=delivery, **more))
    assert ("columns", "id: int64, text: string") in found
    assert any("to be registered" in value for _, value in found)
    assert contents() == before


def test_a_check_that_fails_writes_nothing(place):
    plan, contents, _ = place
    before = contents()
    with pytest.raises(ConfigurationError, match="there is no topic 'check-nowhere'"):
        check(plan(output="check-nowhere"))
    with pytest.raises(NotInStore, match=r"there is no bucket for s3://nobucket-[0-9a-f]{8}/x"):
        check(plan(folder=f"nobucket-{uuid.uuid4().hex[:8]}/x"))
    assert contents() == before


def test_a_worker_writes_what_a_check_leaves_out(place):
    plan, contents, _ = place
    before = contents()
    with start(plan(), threading.Event()):
        after = contents()
    assert len(after["objects"]) == 1
    assert after["objects"][0].endswith("/out/_worker.json")
    assert len(after["subjects"]) == 1
    assert after["topics"] == before["topics"]
