"""The cluster inside librdkafka, what is written to it, and what is read from it; no process is started."""

import base64
import json
import time

import numpy as np
import pytest
from confluent_kafka import Producer
from patience import PATIENCE, wait_for
from topics import read_topic

from pipelines.demo.cluster import embedded_cluster
from pipelines.demo.payments import PaymentWriter
from pipelines.demo.watcher import Watcher

TOPICS = ("payments", "vectors", "dead")


@pytest.fixture
def cluster():
    with embedded_cluster(TOPICS) as address:
        yield address


def decoded(value):
    try:
        return json.loads(value)
    except ValueError:
        return None


def test_payments_come_at_their_rate_and_some_are_spoilt(cluster):
    writer = PaymentWriter(cluster, "payments", rate=2000)
    begin = time.monotonic()
    writer.start()
    wait_for(lambda: writer.written, "500 payments", lambda n: n >= 500)
    writer.stop()
    assert writer.written <= 100 + 2000 * (time.monotonic() - begin)
    values = [decoded(message.value()) for message in read_topic(cluster, "payments", least=writer.written)]
    assert len(values) == writer.written
    good = [value for value in values if value is not None and value["reason"] is not None]
    assert len(values) - len(good) == writer.spoilt == writer.written // 250
    assert {"id", "kind", "card", "merchant", "amount", "reason"} <= set(good[0])


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["list", "base64"])
def test_a_watcher_shows_an_event_and_its_neighbours(layout, cluster):
    vectors = np.array([[1, 0], [0, 1], [0.9, 0.1], [3, 0.1]], np.float16)
    texts = ["lunch", "card testing at the shop", "tiny sums tried", "stolen and used in Lyon"]
    kinds = ["ordinary purchase", "card testing", "card testing", "stolen card"]
    producer = Producer({"bootstrap.servers": cluster})
    for text, kind, vector in zip(texts, kinds, vectors, strict=True):
        value = vector.tolist() if layout == "list" else base64.b64encode(vector.tobytes()).decode()
        record = {"reason": text, "kind": kind, "embedding": value}
        producer.produce("vectors", json.dumps(record), partition=0)
    producer.produce("dead", b'{"cut')
    producer.flush(PATIENCE)
    watcher = Watcher(cluster, ["vectors"], "dead", form="json", dtype="float16")
    watcher.start()
    watcher.stop(n_messages=5, seconds=PATIENCE)
    assert (watcher.records, watcher.letters) == (4, 1)
    _, lines = watcher.shown()
    asked, *near, dead = [line.plain for line in lines]
    assert asked.strip() == "stolen card: stolen and used in Lyon"
    assert [line.split(maxsplit=1)[1] for line in near] == [
        "ordinary purchase: lunch",
        "card testing: tiny sums tried",
        "card testing: card testing at the shop",
    ]
    assert [line.split()[0] for line in near] == ["1.00", "1.00", "0.03"]
    assert dead.endswith('{"cut')


def test_messages_that_are_not_decoded_are_counted(cluster):
    producer = Producer({"bootstrap.servers": cluster})
    producer.produce("vectors", b"\x00")
    producer.flush(PATIENCE)
    watcher = Watcher(cluster, ["vectors"], None, form="arrow", dtype="float32")
    watcher.start()
    watcher.stop(n_messages=1, seconds=PATIENCE)
    assert watcher.records == 1
    assert [line.plain for line in watcher.shown()[1]] == ["  none yet"]
