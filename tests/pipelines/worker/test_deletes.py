"""Deletes and timestamps on a real broker: what a worker makes of them."""

import json
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME
from patience import wait_for
from topics import read_topic, unique

from encoder.errors import ConfigurationError, OutputConflict

pytestmark = pytest.mark.server

N = 300
START = round(1000 * time.time()) - 7_200_000  # topics keep messages for a week
TIMESTAMP = "millstream_timestamp"
ANY = {"message_timestamp_after_max_ms": str(2**63 - 1)}


def is_delete(i):
    return i % 3 == 1


def events(n=N):
    """Records of ten keys, each third a delete, with headers and times."""
    return [
        (
            f"k{i % 10}",
            None if is_delete(i) else json.dumps({"id": i, "text": f"login failed {i}"}),
            [("n", b"%d" % i)],
            START + i,
        )
        for i in range(n)
    ]


def number(message):
    return int(dict(message.headers())["n"])


def counted(started, outcome):
    return started.metrics.registry.get_sample_value("millstream_tombstones_total", {"outcome": outcome})


@pytest.mark.parametrize("kind", ["json", "msgpack"])
@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_deletes_are_passed_on_in_their_place_with_key_headers_and_time(kind, delivery, topics, worker):
    topics.write(events())
    with worker(format=kind, delivery=delivery) as started:
        topics.read(least=N)
        wait_for(lambda: counted(started, "pass"), "the deletes", lambda n: n == N / 3)
    found = topics.read()
    assert sorted(map(number, found)) == list(range(N))
    for message in found:
        i = number(message)
        assert (message.value() is None) == is_delete(i)
        assert message.key() == b"k%d" % (i % 10)
        assert message.headers() == [("n", b"%d" % i)]
        assert message.timestamp() == (TIMESTAMP_CREATE_TIME, START + i)
    for key in range(10):
        own = [number(message) for message in found if message.key() == b"k%d" % key]
        assert own == sorted(own)
    assert topics.read_dead() == []


def test_deletes_spend_no_error_budget_and_a_null_without_a_key_is_a_bad_record(topics, worker):
    topics.write([*[("k", None, None)] * 500, *events(30), (None, None, None)])
    with worker(max_dead_letters="1%"):
        topics.read(least=530)
        [dead] = topics.read_dead(least=1)
    assert (dead.key(), dead.value()) == (None, None)
    assert b"the value is null" in dict(dead.headers())["__connect.errors.exception.message"]


def test_deletes_may_be_dropped(topics, worker):
    topics.write(events())
    with worker(tombstones="drop") as started:
        topics.read(least=2 * N // 3)
        wait_for(lambda: counted(started, "drop"), "the deletes", lambda n: n == N / 3)
    assert [number(one) for one in topics.read() if is_delete(number(one))] == topics.read_dead() == []


def test_deletes_may_be_dead_letters_with_all_that_they_had(topics, worker):
    topics.write(events())
    with worker(tombstones="dead-letter", max_dead_letters="0") as started:
        topics.read_dead(least=N // 3)
        topics.read(least=2 * N // 3)
        assert started.metrics.registry.get_sample_value("millstream_dead_letters_total") == 0
    dead = topics.read_dead()
    assert len(dead) == N // 3
    for message in dead:
        i = number(message)
        assert is_delete(i)
        assert (message.key(), message.value()) == (b"k%d" % (i % 10), None)
        assert message.timestamp()[1] == START + i
        assert dict(message.headers())["__connect.errors.topic"] == topics.input.encode()


def rows_of(folder):
    return pq.ParquetDataset(sorted(folder.rglob("*.parquet"))).read().to_pylist()


@pytest.mark.parametrize("layout", ["list", "binary"])
def test_deletes_are_rows_of_parquet_files_and_letters_of_those_without_their_columns(
    layout, topics, worker, tmp_path
):
    topics.write(events())
    output, dead = tmp_path / "out", tmp_path / "dead"
    told = {"vectors": layout, "seconds_per_file": 0.3, "dead_letters": f"parquet:{dead}"}
    with worker([f"parquet:{output}"], delete_columns=True, **told) as started:
        wait_for(lambda: counted(started, "pass"), "the deletes", lambda n: n == N / 3)
    rows = rows_of(output)
    assert len(rows) == N
    for row in rows:
        empty = [name for name, value in row.items() if value is None]
        if row["deleted"]:
            assert empty == ["id", "text", "embedding", "model_version"]
        else:
            assert (empty, row["message_key"]) == ([], b"k%d" % (row["id"] % 10))
    assert sum(row["deleted"] for row in rows) == N // 3
    assert not list(dead.rglob("*.parquet"))

    topics.group = unique("group")
    with worker([f"parquet:{tmp_path}/plain"], **told) as started:
        wait_for(lambda: counted(started, "dead-letter"), "the deletes", lambda n: n == N / 3)
    assert sorted(row["id"] for row in rows_of(tmp_path / "plain")) == [
        i for i in range(N) if not is_delete(i)
    ]
    letters = rows_of(dead)
    assert len(letters) == N // 3
    for row in letters:
        i = int(row["headers"][0]["value"])
        assert (row["key"], row["value"], is_delete(i)) == (b"k%d" % (i % 10), None, True)
        assert round(row["timestamp"].timestamp() * 1000) == START + i


def test_a_folder_keeps_its_columns(topics, worker, tmp_path):
    topics.write(events(30))
    with worker([f"parquet:{tmp_path}/out"]):
        pass
    with (
        pytest.raises(OutputConflict, match=r"delete columns: False, not True"),
        worker([f"parquet:{tmp_path}/out"], delete_columns=True),
    ):
        pass


def test_arrow_messages_hold_deletes_in_their_columns(topics, worker):
    topics.write(events())
    with worker(format="arrow", delete_columns=True) as started:
        wait_for(lambda: counted(started, "pass"), "the deletes", lambda n: n == N / 3)
    found = topics.read()
    rows = [row for one in found for row in pa.ipc.open_stream(one.value()).read_all().to_pylist()]
    assert sum(row["deleted"] for row in rows) == N // 3
    assert len(rows) == N
    assert max(message.timestamp()[1] for message in found) == START + N - 1


def test_a_field_with_the_name_of_a_column_of_deletes_is_refused(topics, worker, tmp_path):
    topics.write([b'{"text": "a", "deleted": true}'])
    with (
        pytest.raises(ConfigurationError, match=r"has a field 'deleted', .* leave it out with --fields"),
        worker([f"parquet:{tmp_path}/out"], delete_columns=True),
    ):
        pass


STRANGE = [1, -5, -(2**62), 2**62, START * 1000, 1000 * round(time.time() + 86_400)]


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_times_that_the_topic_does_not_accept_stop_nothing_and_are_headers(delivery, kafka, topics, worker):
    topics.input = kafka.create_topic(unique("in"), 1, **ANY)
    bad = [(b"bad", b"oops", None, time_) for time_ in STRANGE]
    good = [(b"k", b'{"id": %d, "text": "a"}' % i, None, time_) for i, time_ in enumerate(STRANGE)]
    topics.write([*good, *bad])
    before = round(1000 * time.time())
    with worker(delivery=delivery, max_dead_letters="100%"):
        topics.read(least=len(good))
        topics.read_dead(least=len(bad))
    for found in (topics.read(), topics.read_dead()):
        assert len(found) == len(STRANGE)
        for message, time_ in zip(sorted(found, key=lambda one: one.offset()), STRANGE, strict=False):
            headers = dict(message.headers() or ())
            if time_ < before:
                assert (message.timestamp()[1], TIMESTAMP in headers) == (time_, False)
            else:
                assert before <= message.timestamp()[1] <= round(1000 * time.time())
                assert headers[TIMESTAMP] == b"%d" % time_


def test_a_topic_with_its_own_times_keeps_them_and_gives_them_on(kafka, topics, worker):
    topics.input = kafka.create_topic(unique("in"), 1, message_timestamp_type="LogAppendTime")
    topics.write([(b"k", b'{"id": 1, "text": "a"}', None, 2**62)])
    [original] = read_topic(kafka.address, topics.input, least=1)
    with worker():
        [message] = topics.read(least=1)
    assert message.timestamp() == (TIMESTAMP_CREATE_TIME, original.timestamp()[1])


def test_narrow_topics_get_their_own_times_and_the_records_times_as_headers(kafka, topics, worker):
    limit = {"message_timestamp_before_max_ms": "3600000"}
    topics.output = kafka.create_topic(unique("out"), 1, **limit)
    topics.write(events(20))
    with worker():
        topics.read(least=20)
    for message in topics.read():
        headers = dict(message.headers())
        assert int(headers[TIMESTAMP]) == START + int(headers["n"])
