"""Messages that a real broker refuses become dead letters, and delay the others only for a moment."""

import collections
import json

import pyarrow.parquet as pq
import pytest
from foreign_client import write_with_header
from patience import PATIENCE, wait_for
from topics import lower_limit, set_config

from encoder.errors import ConfigurationError

pytestmark = pytest.mark.server
N = 200


def events(first, n=N):
    return [
        (str(i), json.dumps({"id": i, "text": f"login failed {i}"}), None) for i in range(first, first + n)
    ]


def aborts(started):
    return started.metrics.registry.get_sample_value("millstream_commits_total", {"outcome": "aborted"})


def reason(letter):
    return dict(letter.headers())["__connect.errors.exception.message"].decode()


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_limit_that_is_lowered_while_the_worker_runs(delivery, kafka, topics, worker):
    topics.write(events(0))
    with worker(delivery=delivery, max_dead_letters="1.0") as started:
        topics.read(least=N)
        lower_limit(kafka, topics.output, 5000)
        large = {str(N + 40 * i): 20_000 + 1000 * i for i in range(5)}
        messages = events(N)
        for i, (key, size) in enumerate(large.items()):
            messages[40 * i] = (key, json.dumps({"id": int(key), "text": "x" * size}), None)
        kept = [key for key, _, _ in messages if key not in large]
        topics.write(messages)
        wait_for(
            lambda: len({one.key() for one in topics.read_dead()}),
            "the dead letters",
            lambda n: n == len(large),
        )
        wanted = {key.encode() for key in (*map(str, range(N)), *kept)}
        wait_for(lambda: wanted <= {one.key() for one in topics.read()}, "all good records")
        assert aborts(started) < 30
    counts = collections.Counter(one.key() for one in topics.read())
    letters = collections.Counter(one.key() for one in topics.read_dead())
    assert set(counts) == wanted
    assert set(letters) == {key.encode() for key in large}
    if delivery == "exactly-once":
        assert set(counts.values()) == set(letters.values()) == {1}
    assert all(f"topic '{topics.output}'" in reason(letter) for letter in topics.read_dead())


def test_a_record_without_a_key_for_a_compacted_topic_is_a_letter(kafka, topics, worker):
    topics.output = kafka.create_topic(f"{topics.output}-compacted", 1, cleanup_policy="compact")
    messages = events(0)
    messages[70] = (None, messages[70][1], None)
    topics.write(messages)
    with worker(max_dead_letters="1.0") as started:
        topics.read_dead(least=1)
        topics.read(least=N - 1)
        assert aborts(started) < 40
    [letter] = topics.read_dead()
    assert letter.value() == messages[70][1].encode()
    assert "refuses m" in reason(letter)
    assert sorted(value["id"] for value in topics.read_values()) == [i for i in range(N) if i != 70]


@pytest.mark.parametrize("letters", ["topic", "parquet"])
def test_a_record_that_a_topic_refuses_is_in_no_file(letters, kafka, topics, worker, tmp_path):
    """The topic becomes compacted while the worker runs: nothing says so before a message is refused."""
    folder, dead = tmp_path / "out", tmp_path / "dead"

    def rows(column="id", under=folder):
        return sorted(
            one for path in under.rglob("*.parquet") for one in pq.read_table(path)[column].to_pylist()
        )

    def n_letters():
        return len(topics.read_dead()) if letters == "topic" else len(rows("offset", dead))

    outputs = [f"topic:{topics.output}", f"parquet:{folder}"]
    to = f"topic:{topics.dead}" if letters == "topic" else f"parquet:{dead}"
    topics.write(events(0))
    with worker(outputs, to, max_dead_letters="1.0", seconds_per_file=3600) as started:
        topics.read(least=N)
        set_config(kafka, topics.output, "cleanup.policy", "compact")
        messages = events(N)
        for i in (70, 71, 150):
            messages[i] = (None, messages[i][1], None)
        refused = {N + 70, N + 71, N + 150}
        topics.write(messages)
        wait_for(n_letters, "the dead letters", lambda n: n >= len(refused))
        before = rows()  # a worker that takes over now does not read again what was refused
        topics.read(least=2 * N - len(refused))
        assert aborts(started) < 40
    wanted = [i for i in range(2 * N) if i not in refused]
    assert sorted(value["id"] for value in topics.read_values()) == rows() == wanted
    assert n_letters() == len(refused)
    assert before  # no file was due: those of the partitions with a refused record came before the commit


def test_headers_that_the_output_does_not_take_make_a_letter_with_its_value(kafka, topics, worker):
    topics.output = kafka.create_topic(f"{topics.output}-small", 1, max_message_bytes="20000")
    topics.dead = kafka.create_topic(f"{topics.dead}-small", 1, max_message_bytes="20000")
    messages = events(0)
    messages[70] = (*messages[70][:2], [("h", b"x" * 30_000)])
    topics.write(messages)
    with worker(max_dead_letters="1.0"):
        topics.read_dead(least=1)
        topics.read(least=N - 1)
    [letter] = topics.read_dead()
    assert letter.value() == messages[70][1].encode()
    assert dict(letter.headers())["__connect.errors.headers.omitted"] == b"30017 bytes"


@pytest.mark.parametrize("name", [b"\xff", b"caf\xe9"])
def test_a_header_whose_name_is_not_utf8_makes_a_letter(name, topics, worker):
    topics.write(events(0, 20))
    write_with_header(topics.broker.address, topics.input, b'{"id":20,"text":"paid"}', b"k", name, b"content")
    topics.write(events(21, 20))
    with worker(max_dead_letters="1.0"):
        topics.read_dead(least=1)
        topics.read(least=40)
    [letter] = topics.read_dead()
    assert (letter.key(), letter.value()) == (b"k", b'{"id":20,"text":"paid"}')
    assert dict(letter.headers())["__connect.errors.headers.omitted"] == b"a header's name is not UTF-8"
    assert sorted(value["id"] for value in topics.read_values()) == [i for i in range(41) if i != 20]


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_an_output_topic_that_is_deleted_ends_the_worker_and_loses_nothing(delivery, kafka, topics, worker):
    properties = {"message.timeout.ms": "4000", "topic.metadata.propagation.max.ms": "2000"}
    if delivery == "exactly-once":
        del properties["message.timeout.ms"]  # of the transaction
    options = {"delivery": delivery, "properties": properties}
    admin = kafka.admin()  # its futures end with it
    topics.write(events(0, 5))
    said = rf"the topic '{topics.output}' is gone, to which this worker writes: create it again"
    with (  # noqa: PT012 - the worker ends by itself
        pytest.raises(ConfigurationError, match=said),
        worker(ends_itself=True, **options),
    ):
        topics.read(least=5)
        admin.delete_topics([topics.output])[topics.output].result(PATIENCE)
        wait_for(
            lambda: topics.output not in admin.list_topics(timeout=PATIENCE).topics, "the topic to be gone"
        )
        topics.write(events(5, 5))
    kafka.create_topic(topics.output, 1)
    with worker(**options):
        topics.read(least=5)
    assert {value["id"] for value in topics.read_values()} >= set(range(5, 10))
