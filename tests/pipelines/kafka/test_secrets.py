"""Secrets are in no pickle, no text of an object and no pipeline; the worker reads them."""

import bz2
import copy
import logging
import pickle
import zlib

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from encoder.errors import ConfigurationError
from pipelines.beam.streaming.batch import Windows
from pipelines.beam.streaming.interfaces import StreamJob, stream
from pipelines.beam.streaming.model import PinnedModel
from pipelines.beam.streaming.sinks.kafka import KafkaSink, KafkaTopic
from pipelines.beam.streaming.sinks.messages import MessageEncoder
from pipelines.beam.streaming.sources.kafka import KafkaSource
from pipelines.beam.streaming.watermark import WatermarkPolicy
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.kafka.config import consumer_properties, parse_properties, producer_properties
from pipelines.kafka.secrets import Secret, given_secrets

VARIABLE = "MILLSTREAM_KAFKA_SSL_KEY_PASSWORD"
VALUES = ("hunter2", "correct horse", "battery staple")


@pytest.fixture
def properties(tmp_path, monkeypatch):
    """Secrets from a relative file and from the environment, one of them for a schema registry."""
    (tmp_path / "password").write_text("hunter2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "correct horse")
    monkeypatch.setenv("MILLSTREAM_KAFKA_SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO", "battery staple")
    monkeypatch.setenv("MILLSTREAM_KAFKA_SASL_USERNAME", "ana")
    return parse_properties(["sasl.password=@password", "security.protocol=SASL_SSL"])


def test_a_secret_is_its_value_and_pickles_as_its_place(properties, monkeypatch, tmp_path):
    assert properties["sasl.password"] == "hunter2"
    data = pickle.dumps(properties)
    assert not any(value.encode() in data for value in VALUES)
    assert str(tmp_path / "password").encode() in data
    monkeypatch.chdir("/")  # where the worker is
    assert pickle.loads(data) == copy.deepcopy(properties) == properties
    (tmp_path / "password").write_text("changed")
    assert pickle.loads(data)["sasl.password"] == "changed"


def test_texts_and_logs_hide_it(properties, caplog):
    with caplog.at_level(logging.INFO):
        logging.getLogger(__name__).info("%s %r", properties, list(properties.values()))
    assert not any(value in caplog.text for value in VALUES)
    assert "ana" in caplog.text


def test_a_worker_without_the_place_says_what_is_missing(properties, monkeypatch, tmp_path):
    data = pickle.dumps(properties["ssl.key.password"]), pickle.dumps(properties["sasl.password"])
    monkeypatch.delenv(VARIABLE)
    (tmp_path / "password").unlink()
    with pytest.raises(
        ConfigurationError, match=f"{VARIABLE} is not set on this worker.*ssl.key.password=@FILE"
    ):
        pickle.loads(data[0])
    with pytest.raises(
        ConfigurationError, match=f"the property sasl.password: cannot read {tmp_path}/password"
    ):
        pickle.loads(data[1])


def test_secrets_that_are_given_as_values_are_told(properties):
    assert given_secrets(properties) == []
    assert given_secrets(parse_properties(["sasl.password=hunter2"], (), {})) == ["sasl.password"]
    assert isinstance(properties["sasl.password"], Secret)


@pytest.fixture
def job(properties, model):
    windows, policy = Windows(10**6), WatermarkPolicy(0, 0)
    consumer = consumer_properties(properties, brokers="b:1", group="g", instance=None)
    producer = producer_properties(
        properties, brokers="b:1", transactional_id=None, least_bytes=1000, most_bytes=1000
    )
    schema = pa.schema({"text": pa.string()})
    source = KafkaSource("events", (0, 1), consumer, "json", schema, windows, policy)
    messages = MessageEncoder(PinnedModel(ModelVersion.resolve(str(model))), Enrichment.parse("text"))
    sink = KafkaSink(KafkaTopic("vectors", 1000), KafkaTopic("letters", 1000), producer, messages)
    return StreamJob(source, sink)


def test_the_pipeline_of_a_stream_holds_no_secret(job, monkeypatch):
    pickles = []

    def spy(compress):
        def spied(data, *level, **named):
            pickles.append(data)
            return compress(data, *level, **named)

        return spied

    for module in (zlib, bz2):  # Beam compresses what it has pickled
        monkeypatch.setattr(module, "compress", spy(module.compress))
    options = PipelineOptions(["--runner=FnApiRunner"])
    pipeline = beam.Pipeline(options=options)
    stream(pipeline, job)
    proto = pipeline.to_runner_api().SerializeToString()
    everything = b"".join([proto, *pickles, pickle.dumps(job), repr(job).encode(), repr(options).encode()])
    assert b"sasl.password" in b"".join(pickles)  # this is where it would be
    assert not any(value.encode() in everything for value in VALUES)
