"""Commits against a cluster that answers with every kind of error."""

import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from topics import unique

from encoder.errors import ConfigurationError, TransientError
from pipelines.worker.commit import Aborted, AtLeastOnce, ExactlyOnce

OFFSETS = [TopicPartition("in", 0, 7)]


def error(code=KafkaError._TIMED_OUT, *, fatal=False, retriable=False, abort=False):
    return KafkaException(KafkaError(code, "told to", fatal, retriable, abort))


class Cluster:
    """Producer and consumer in one: notes the calls; each name's next errors are raised first."""

    def __init__(self, **errors):
        self.calls = []
        self.errors = {name: list(several) for name, several in errors.items()}

    def _call(self, name):
        self.calls.append(name)
        if self.errors.get(name):
            failure = self.errors[name].pop(0)
            if failure is not None:
                raise failure

    def init_transactions(self, _seconds):
        self._call("init")

    def begin_transaction(self):
        self._call("begin")

    def send_offsets_to_transaction(self, offsets, metadata, _seconds):
        assert (offsets, metadata) == (OFFSETS, "metadata")
        self._call("offsets")

    def commit_transaction(self, _seconds):
        self._call("commit")

    def abort_transaction(self, _seconds):
        self._call("abort")

    def consumer_group_metadata(self):
        return "metadata"

    def flush(self, _seconds):
        self._call("flush")
        return self.left.pop(0) if self.left else 0

    left = ()

    def poll(self, _seconds):
        return 0

    def purge(self):
        self._call("purge")

    def commit(self, offsets, asynchronous):
        assert not asynchronous
        self._call("commit")
        return offsets


@pytest.fixture
def waits():
    return []


def exactly_once(cluster, waits, *, stopping=False):
    return ExactlyOnce(cluster, cluster, lambda: waits.append(1), lambda: stopping)


def at_least_once(cluster, waits, *, sends=True):
    commits = AtLeastOnce(cluster, lambda: waits.append(1), lambda: False)
    commits.producer = cluster if sends else None
    return commits


def test_a_transaction(waits):
    cluster = Cluster()
    commits = exactly_once(cluster, waits)
    commits.begin()
    commits.begin()
    assert commits.commit(OFFSETS)
    assert commits.commit(OFFSETS)
    assert cluster.calls == ["init", *["begin", "offsets", "commit"] * 2]


@pytest.mark.parametrize("name", ["init", "offsets", "commit"])
def test_what_may_be_repeated_is_repeated_and_the_group_is_kept(name, waits):
    cluster = Cluster(**{name: [error(retriable=True)] * 3})
    assert exactly_once(cluster, waits).commit(OFFSETS)
    assert cluster.calls.count(name) == 4
    assert len(waits) == 3


@pytest.mark.parametrize("name", ["offsets", "commit"])
def test_a_transaction_that_must_be_given_up_is(name, waits):
    cluster = Cluster(
        **{name: [error(KafkaError.ILLEGAL_GENERATION, abort=True)], "abort": [error(retriable=True)]}
    )
    commits = exactly_once(cluster, waits)
    with pytest.raises(Aborted):
        commits.commit(OFFSETS)
    assert cluster.calls[-3:] == ["flush", "abort", "abort"]
    assert commits.commit(OFFSETS)


@pytest.mark.parametrize(
    "failure", [error(KafkaError._FENCED, fatal=True), error(KafkaError.UNKNOWN), error(KafkaError._STATE)]
)
def test_everything_else_ends_the_process(failure, waits):
    with pytest.raises(TransientError, match="restart it"):
        exactly_once(Cluster(commit=[failure]), waits).commit(OFFSETS)


def test_a_refusal_is_the_deployments_fault(waits):
    for commits in (
        exactly_once(Cluster(offsets=[error(KafkaError.GROUP_AUTHORIZATION_FAILED)]), waits),
        at_least_once(Cluster(commit=[error(KafkaError.GROUP_AUTHORIZATION_FAILED)]), waits),
    ):
        with pytest.raises(ConfigurationError, match="refuses"):
            commits.commit(OFFSETS)


def test_a_stopping_worker_does_not_wait_for_ever(waits, monkeypatch):
    now = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    with pytest.raises(TransientError):
        exactly_once(Cluster(commit=[error(retriable=True)] * 100), waits, stopping=True).commit(OFFSETS)


def test_nothing_open_needs_no_abort(waits):
    cluster = Cluster()
    exactly_once(cluster, waits).abort()
    assert cluster.calls == ["init"]


@pytest.mark.server
def test_a_broker_that_has_not_heard_of_a_transaction_takes_its_abort(kafka, waits):
    topic = kafka.create_topic(unique("aborted"), 1)
    about = {"bootstrap.servers": kafka.address, "transactional.id": unique("worker"), "group.id": topic}
    producer = Producer({name: value for name, value in about.items() if name != "group.id"})
    consumer = Consumer({name: value for name, value in about.items() if name != "transactional.id"})
    commits = ExactlyOnce(producer, consumer, lambda: waits.append(1), lambda: False)
    for milliseconds in range(20):  # after some, the broker still writes the markers of the commit
        commits.begin()
        producer.produce(topic, b"committed")
        assert commits.commit([TopicPartition(topic, 0, 1)])
        commits.begin()
        producer.produce(topic, b"void")
        producer.poll(milliseconds / 1000)
        commits.abort()
    consumer.close()


def test_at_least_once_waits_for_the_acknowledgements_first(waits):
    cluster = Cluster()
    cluster.left = [5, 2]
    assert at_least_once(cluster, waits).commit(OFFSETS)
    assert cluster.calls == ["flush", "flush", "flush", "commit"]
    assert len(waits) == 2


def test_a_message_that_failed_is_sent_again_and_nothing_is_committed(waits):
    cluster = Cluster()
    commits = at_least_once(cluster, waits)
    commits.on_delivery(KafkaError(KafkaError._MSG_TIMED_OUT), None)
    with pytest.raises(Aborted):
        commits.commit(OFFSETS)
    assert "commit" not in cluster.calls
    assert commits.commit(OFFSETS)


@pytest.mark.parametrize(
    "code", [KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS]
)
def test_partitions_that_moved_are_not_committed(code, waits):
    assert not at_least_once(Cluster(commit=[error(code)]), waits).commit(OFFSETS)


def test_a_commit_is_tried_again(waits):
    cluster = Cluster(commit=[error(KafkaError._TRANSPORT), error(KafkaError.REQUEST_TIMED_OUT)])
    assert at_least_once(cluster, waits, sends=False).commit(OFFSETS)
    assert cluster.calls == ["commit"] * 3


def failed(code):
    return KafkaError(code, "told to")


@pytest.mark.parametrize("make", [exactly_once, at_least_once])
def test_what_was_sent_is_delivered_before_the_commit_where_it_must_be(make, waits):
    cluster = Cluster()
    cluster.left = [5, 2]
    commits = make(cluster, waits)
    commits.begin()
    commits.deliver()
    assert (cluster.calls.count("flush"), cluster.calls.count("commit"), len(waits)) == (3, 0, 2)
    commits.on_delivery(failed(KafkaError.INVALID_RECORD), None)
    with pytest.raises(Aborted) as aborted:
        commits.deliver()
    assert aborted.value.code == KafkaError.INVALID_RECORD
    commits.begin()
    commits.deliver()


def test_an_aborted_transaction_says_which_message_it_was(waits):
    commits = exactly_once(Cluster(offsets=[error(KafkaError._STATE, abort=True)]), waits)
    commits.begin()
    commits.on_delivery(failed(KafkaError.INVALID_RECORD), None)
    with pytest.raises(Aborted) as aborted:
        commits.commit(OFFSETS)
    assert aborted.value.code == KafkaError.INVALID_RECORD


def test_a_topic_that_forbids_its_messages_ends_the_worker(waits):
    """Sending them again would not help."""
    commits = exactly_once(Cluster(offsets=[error(KafkaError._STATE, abort=True)]), waits)
    commits.begin()
    commits.on_delivery(failed(KafkaError.TOPIC_AUTHORIZATION_FAILED), None)
    with pytest.raises(ConfigurationError, match="check this user's permissions"):
        commits.commit(OFFSETS)
