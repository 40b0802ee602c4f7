"""Drift of what a worker reads: metrics, a log line, and the places of unusual records, never their texts."""

import json
import logging

import numpy as np
import pyarrow as pa
import pytest
from drifting import STRANGE, usual, with_baseline
from patience import wait_for
from plans import plan_of
from topics import read_topic, unique

from encoder import Encoder
from encoder.errors import ConfigurationError
from pipelines.enrich.enrichment import EnrichedBatch
from pipelines.enrich.model_follower import FollowedModel
from pipelines.records.template import TextTemplate
from pipelines.worker.drift import DriftWatch
from pipelines.worker.message_batch import MessageBatch
from pipelines.worker.offsets import PartitionIndex
from pipelines.worker.telemetry.metrics import WorkerMetrics

N = 600


@pytest.fixture
def watched(model, tmp_path):
    """A model with a baseline."""
    return with_baseline(model, tmp_path / "watched")


def messages(texts):
    return [(None, json.dumps({"id": i, "text": text}), None) for i, text in enumerate(texts)]


def value(started, name):
    return started.metrics.registry.get_sample_value(f"millstream_{name}")


@pytest.mark.server
@pytest.mark.parametrize("kind", ["topic", "file"])
def test_a_window_with_a_new_kind_of_records_is_reported(
    kind, kafka, topics, worker, watched, tmp_path, caplog
):
    caplog.set_level(logging.INFO, logger="pipelines")
    topic, path = unique("drift"), tmp_path / "drift.jsonl"
    kafka.create_topic(topic)
    texts = usual(N, seed=1)
    texts[::5] = [STRANGE] * len(texts[::5])  # of a large batch only some are measured
    topics.write(messages(texts))
    output = f"topic:{topic}" if kind == "topic" else f"file:{path}"
    with worker(model=str(watched), drift_window="1ms", drift_records=100, drift_output=output) as started:
        topics.read(least=N)
        wait_for(lambda: value(started, "drift_windows_total"), "a window")
        assert value(started, "drift") > 1
        assert value(started, "unusual_record_ratio") > 0.05
    sent = (one.value() for one in read_topic(kafka.address, topic))
    report = json.loads(next(sent) if kind == "topic" else path.read_bytes().splitlines()[0])
    assert report["drift"] > 1
    assert {one["topic"] for one in report["unusual"]} == {topics.input}
    assert all(set(one) == {"topic", "partition", "offset", "similarity"} for one in report["unusual"])
    assert any("drift" in record.message and record.levelname == "WARNING" for record in caplog.records)
    assert "zzzz" not in json.dumps(report) + caplog.text


def test_a_record_that_cannot_be_measured_stops_no_worker_and_a_new_version_begins_anew(
    watched, model, caplog
):
    metrics = WorkerMetrics()
    watch = DriftWatch(
        TextTemplate.parse("text"),
        seconds=0,
        least_records=10,
        metrics=metrics,
        partitions=PartitionIndex(),
    )

    def add(followed, texts, rows=None):
        texts = pa.record_batch({"text": pa.array(texts).view(pa.string())})
        rows = np.arange(len(texts)) if rows is None else rows
        messages = MessageBatch([None] * len(rows), np.zeros(len(rows), np.int32), rows)
        watch.add(followed, messages, EnrichedBatch(rows, None, texts, "m", [], texts=texts))
        return metrics.registry.get_sample_value("millstream_drift")

    first, plain = (FollowedModel(Encoder.load(ref), "m", 1, 0.0) for ref in (watched, model))
    assert add(first, [STRANGE.encode()] * 20) > 1
    assert add(plain, [STRANGE.encode()]) == 0
    assert add(first, [STRANGE.encode()] * 20) > 1
    assert add(first, [b"\xff", b"paid"]) > 1  # it is left out
    assert add(first, [STRANGE.encode()], rows=np.arange(0)) == 0  # it is not known which message it was
    assert "a record cannot be measured" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drift_window": "soon"}, "--drift-window 'soon' is not a duration"),
        ({"drift_output": "parquet:x"}, "cannot read --drift-output 'parquet:x'"),
        ({"drift_output": "topic:out"}, "name the same topic"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        plan_of("topic:out", **options)


def test_a_topic_of_drift_needs_another_topic():
    with pytest.raises(ConfigurationError, match="use --drift-output file:PATH"):
        plan_of("parquet:x", dead_letters="parquet:y", drift_output="topic:drift")
