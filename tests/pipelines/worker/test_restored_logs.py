"""A broker whose log is restored to an earlier state while no worker runs, and grows past the position."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from amounts import amount
from brokers import KafkaCluster
from patience import wait_for
from topics import read_topic, unique, values_of, write_topic

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture
def cluster(tmp_path):
    made = KafkaCluster(tmp_path)
    made.start()
    yield made
    made.stop()


def write(broker, topic, numbers):
    messages = [(str(i), json.dumps({"id": i, "text": f"login {i}"}), None) for i in numbers]
    write_topic(broker.address, topic, messages)


def rows(folder: Path):
    return sorted(i for path in folder.rglob("*.parquet") for i in pq.read_table(path)["id"].to_pylist())


@pytest.mark.parametrize("kind", ["both", *amount([], ["topic", "parquet"])])
def test_a_log_that_was_restored_and_has_grown_is_read_from_where_it_was_cut(
    kind, cluster, run_worker, tmp_path
):
    broker, folder, group = cluster.broker, tmp_path / "out", unique("group")
    source, target = (broker.create_topic(unique(name)) for name in ("in", "out"))
    outputs = {"topic": [f"topic:{target}"], "parquet": [f"parquet:{folder}"]}
    outputs["both"] = outputs["topic"] + outputs["parquet"]

    def found():
        topic = sorted(value["id"] for value in values_of(read_topic(broker.address, target)))
        return {"topic": [topic], "parquet": [rows(folder)], "both": [topic, rows(folder)]}[kind]

    def read(*wanted):
        about = {"brokers": broker.address, "group": group, "inputs": [source], "seconds_per_file": 0.2}
        with run_worker(outputs[kind], f"parquet:{tmp_path / 'dead'}", {}, **about):
            wait_for(found, f"{len(wanted)} ids", lambda ids: all(len(one) >= len(wanted) for one in ids))
        assert all(one == sorted(wanted) for one in found())

    write(broker, source, range(300))
    cluster.stop()
    log, saved = tmp_path / f"node-1/data/{source}-0", tmp_path / "saved"
    shutil.copytree(log, saved)
    cluster.start()
    write(broker, source, range(300, 500))
    read(*range(500))
    cluster.stop()
    shutil.rmtree(log)
    shutil.copytree(saved, log)
    cluster.start()
    write(broker, source, range(1000, 1400))
    read(*range(500), *range(1000, 1400))
    write(broker, source, range(2000, 2010))
    read(*range(500), *range(1000, 1400), *range(2000, 2010))
