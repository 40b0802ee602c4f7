"""Streams from topic to topic on Prism and on Flink: everything arrives, and kills lose nothing."""

import json

import pytest
from engines.producers import TopicProducer, stop
from patience import wait_for
from topics import read_topic, unique


@pytest.fixture
def topics(kafka):
    """A topic for the input, one for records, one for dead letters."""
    return [kafka.create_topic(unique(name), partitions=2) for name in ("events", "vectors", "letters")]


@pytest.fixture
def start(millstream, store, kafka, topics):
    def begin(*beam):
        source, target, dead = (f"kafka:{name}" for name in topics)
        own = ("--model", f"{store.uri}@latest", "--input", source, "--output", target)
        more = ("--dead-letters", dead, "--brokers", kafka.address, "--key", "id", "--", *beam)
        return millstream("stream", *own, *more)

    return begin


class Vectors:
    """What has come out so far."""

    def __init__(self, kafka, topics):
        self._address, [_, self._topic, self._letters] = kafka.address, topics

    def messages(self):
        return read_topic(self._address, self._topic)

    def ids(self):
        return {json.loads(message.value())["id"] for message in self.messages()}

    def check(self, n):
        """Every record is there, with one key and one id; the same record has the same id again."""
        found = {}
        for message in self.messages():
            value = json.loads(message.value())
            assert message.key().decode() == str(value["id"])
            assert (value["model_version"], len(value["embedding"])) == ("tiny@1", 16)
            found.setdefault(value["id"], set()).add(dict(message.headers())["millstream_id"])
        assert sorted(found) == list(range(n))
        assert all(len(ids) == 1 for ids in found.values())
        assert len(set.union(*found.values())) == n
        assert read_topic(self._address, self._letters) == []


@pytest.mark.server
def test_prism_embeds_a_topic_into_another(start, kafka, topics, prism_options):
    vectors = Vectors(kafka, topics)
    with TopicProducer(kafka, topics[0]) as producer:
        job = start(*prism_options)
        wait_for(lambda: len(vectors.ids()), "100 records", lambda n: n > 100, process=job)
        n = producer.stop()
        wait_for(lambda: len(vectors.ids()), "all records", lambda found: found == n, process=job)
        stop(job)
    vectors.check(n)


@pytest.mark.server
def test_a_topic_from_flink_misses_nothing_after_kills(start, kafka, topics, flink_cluster, flink_options):
    vectors = Vectors(kafka, topics)
    with TopicProducer(kafka, topics[0]) as producer:
        job = start(*flink_options, "--checkpointing_interval=1000")
        for victim in ("Python worker", "TaskManager"):
            before = len(vectors.ids())
            more = lambda n, before=before: n > before + 100
            wait_for(lambda: len(vectors.ids()), "100 more records", more, process=job)
            flink_cluster.kill(victim)
        n = producer.stop()
        wait_for(lambda: len(vectors.ids()), "all records", lambda found: found == n, process=job)
        stop(job)
    vectors.check(n)
