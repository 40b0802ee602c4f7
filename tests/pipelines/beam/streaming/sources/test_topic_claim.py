"""A stream from Kafka to a topic, whose input topic is created again before the stream is started again."""

import json

import pytest
from confluent_kafka.admin import AdminClient
from faults.inputs import create_again
from patience import PATIENCE
from secure_brokers import PASSWORD, secure_kafka
from topics import read_topic, unique, values_of, write_topic

from encoder.errors import OtherInput
from encoder.store.objects import open_objects
from pipelines.beam.streaming.sources.kafka import KafkaSource
from pipelines.beam.streaming.sources.topic_claim import TopicClaim
from pipelines.kafka.topic_ids import TopicId, cluster_id, topic_ids

pytestmark = pytest.mark.server


@pytest.fixture
def topics(kafka):
    return [kafka.create_topic(unique(name), 1) for name in ("events", "vectors", "letters")]


def test_another_topic_of_the_name_is_refused_until_it_is_accepted(kafka, topics):
    source, target, _ = topics
    own = {"bootstrap.servers": kafka.address}
    admin, claim = AdminClient(own), TopicClaim(source, target, own)
    now = topic_ids(admin, cluster_id(admin, PATIENCE), [source], PATIENCE)[source]
    later = TopicId(now.cluster, "another")
    assert not claim.take(now)
    assert not claim.take(now)
    with pytest.raises(OtherInput, match=f"is not the one that topic '{target}' was made of .*created again"):
        claim.take(later)
    assert claim.take(later, accept=True)
    claim.renew()
    assert claim.take(later)  # its records have other ids from now on
    assert not claim.take(now, accept=True)
    assert not TopicClaim(unique("other"), target, own).take(later)


def test_a_deleted_output_topic_was_made_of_nothing(kafka, topics):
    source, target, _ = topics
    claim = TopicClaim(source, target, {"bootstrap.servers": kafka.address})
    claim.take(TopicId("c", "one"))
    create_again(kafka, target, 1)
    assert not claim.take(TopicId("c", "two"))


def test_a_stream_to_a_topic_notices_that_its_input_was_created_again(kafka, topics, millstream, model):
    source, target, dead = topics
    own = ("--model", model, "--input", f"kafka:{source}", "--output", f"kafka:{target}", "--stop-at-end")
    more = ("--brokers", kafka.address, "--dead-letters", f"kafka:{dead}")
    write_topic(kafka.address, source, [(None, json.dumps({"id": i, "text": "paid"}), None) for i in (0, 1)])
    for _ in range(2):
        assert millstream("stream", *own, *more).code == 0
    create_again(kafka, source, 1)
    write_topic(kafka.address, source, [(None, json.dumps({"id": i, "text": "due"}), None) for i in (2, 3)])
    ended = millstream("stream", *own, *more)
    assert ended.code == 2
    last = ended.err.splitlines()[-1]
    assert "created again" in last
    assert "--accept-new-input" in last
    for more_still in (["--accept-new-input"], []):
        assert millstream("stream", *own, *more, *more_still).code == 0
    found = read_topic(kafka.address, target)
    keys = {}
    for one, value in zip(found, values_of(found), strict=True):
        assert dict(one.headers())["millstream_id"] == one.key()
        keys.setdefault(value["id"], set()).add(one.key().decode())
    assert [len(keys[i]) for i in range(4)] == [1] * 4  # repeats have the same id, and no others
    assert keys[0] == {f"{source}/0:0"}
    [other] = keys[2]
    assert other.startswith(f"{source}/0~")
    assert other.endswith(":0")


def test_a_folder_of_dead_letters_keeps_it_too(kafka, topics, tmp_path):
    source, _, _ = topics
    admin = AdminClient({"bootstrap.servers": kafka.address})
    now = topic_ids(admin, cluster_id(admin, PATIENCE), [source], PATIENCE)[source]
    folder = open_objects(f"file://{tmp_path}")

    def claimed(topic_id, *, accept=False):
        made = KafkaSource(source, (0,), {}, "text", None, None, None, topic_id=topic_id)
        return made.claim(folder, accept=accept)[0].is_other

    assert not claimed(now)
    with pytest.raises(OtherInput):
        claimed(TopicId(now.cluster, "another"))
    assert claimed(TopicId(now.cluster, "another"), accept=True)


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    with secure_kafka(tmp_path_factory.mktemp("certificates")) as broker:
        yield broker


def test_a_user_who_may_not_keep_it_is_warned(secure, caplog):
    source, target = unique("events"), secure.broker.create_topic(unique("vectors"), 1)
    login = {"sasl.mechanism": "PLAIN", "sasl.username": "alice", "sasl.password": PASSWORD}
    tls = {"security.protocol": "SASL_SSL", "ssl.ca.location": str(secure.folder / "ca.pem")}
    own = {"bootstrap.servers": secure.addresses["SASL"], **login, **tls}
    claim, now = TopicClaim(source, target, own), TopicId("cluster", "now")
    secure.allow("topic", target, "write")
    assert not claim.take(now)
    assert f"allow READ on group millstream-stream.{source} and on topic {target}" in caplog.text
    caplog.clear()
    secure.allow("group", "millstream-stream.", "read", prefix=True)
    assert not claim.take(now)
    assert "allow READ" in caplog.text
    caplog.clear()
    secure.allow("topic", target, "read")
    assert not claim.take(now)
    assert caplog.text == ""
    with pytest.raises(OtherInput):
        claim.take(TopicId("cluster", "later"))
