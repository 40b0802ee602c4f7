"""Beam's KafkaIO around our transforms: a topic in, vectors out to another topic, on Prism and on Flink."""

import json

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.io.kafka import ReadFromKafka, WriteToKafka
from apache_beam.options.pipeline_options import PipelineOptions
from engines.kafkaio import kafkaio
from topics import read_topic, unique, write_topic

from encoder import Encoder
from pipelines import Embed

N = 200


@pytest.mark.server
@pytest.mark.parametrize("engine", ["prism", "flink"])
def test_a_topic_is_embedded_into_another(engine, kafka, model, request):
    options = PipelineOptions(request.getfixturevalue(f"{engine}_options"))
    with kafkaio(external=engine == "flink") as expansion_service:
        embed(kafka, model, options, expansion_service)


def embed(kafka, model, options, expansion_service):
    source, target = (kafka.create_topic(unique(name)) for name in ("events", "vectors"))
    records = [{"id": i, "text": f"login failed {i}"} for i in range(N)]
    write_topic(kafka.address, source, [(str(one["id"]), json.dumps(one), None) for one in records])
    read = ReadFromKafka(
        {"bootstrap.servers": kafka.address, "auto.offset.reset": "earliest", "group.id": unique("beam")},
        [source],
        max_num_records=N,
        expansion_service=expansion_service,
    )
    write = WriteToKafka({"bootstrap.servers": kafka.address}, target, expansion_service=expansion_service)
    with beam.Pipeline(options=options) as p:
        _ = (
            p
            | read
            | beam.Map(lambda message: json.loads(message[1]))
            | Embed(str(model))
            | beam.Map(lambda one: (str(one["id"]).encode(), json.dumps(one).encode())).with_output_types(
                tuple[bytes, bytes]
            )
            | write
        )
    found = {
        one["id"]: one for one in map(json.loads, (m.value() for m in read_topic(kafka.address, target)))
    }
    vectors = Encoder.load(model).encode([one["text"] for one in records])
    assert sorted(found) == list(range(N))
    assert np.array_equal(np.float32([found[i]["embedding"] for i in range(N)]), vectors)
