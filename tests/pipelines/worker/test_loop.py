"""The worker on a real broker: what comes out of a topic for what went in."""

import base64
import json
import threading
import time
import urllib.error
import urllib.request

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer
from faults.s3 import lossy_proxy
from patience import PATIENCE, wait_for
from topics import values_of

from encoder import Encoder
from encoder.errors import ConfigurationError, InputError, OutputConflict
from encoder.store.store import ModelStore
from pipelines.enrich.columns import score_columns
from pipelines.worker.telemetry.http import serve

pytestmark = pytest.mark.server
N = 300
BAD = {
    b"oops": "not JSON",
    b'{"text":"\xff"}': "not UTF-8",
    None: "the value is null",
    b'{"text":null}': "the text is null",
    b"[]": "not an object",
}


def events(n=N, first=0):
    return [
        (str(i % 7), json.dumps({"id": i, "text": f"login failed {i}", "more": [i]}), None)
        for i in range(first, first + n)
    ]


def texts(values):
    return [value["text"] for value in values]


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_records_keep_their_fields_key_and_headers(delivery, topics, worker, encoder, model):
    messages = events()
    messages[5] = (*messages[5][:2], [("trace", b"1"), ("trace", b"2")])
    topics.write(messages)
    with worker(delivery=delivery):
        topics.read(least=N)
    found = topics.read()
    values = values_of(found)
    assert sorted(value["id"] for value in values) == list(range(N))
    for message, value in zip(found, values, strict=True):
        key, original, headers = messages[value["id"]]
        assert (message.key(), message.headers()) == (key.encode(), headers)
        assert {name: value[name] for name in ("id", "text", "more")} == json.loads(original)
        assert value["model_version"].startswith(f"{model.name}@sha256:")
    vectors = np.array([value["embedding"] for value in values], np.float32)
    assert np.array_equal(vectors, encoder.encode(texts(values)))
    assert topics.read_dead() == []


def test_records_of_a_key_keep_their_order(topics, worker):
    topics.write(events(2000))
    with worker():
        topics.read(least=2000)
    values = topics.read_values()
    for key in range(7):
        ids = [value["id"] for value in values if value["id"] % 7 == key]
        assert ids == sorted(ids)


@pytest.mark.parametrize("kind", ["json", "msgpack", "arrow"])
def test_formats(kind, topics, worker, encoder):
    topics.write(events())
    with worker(format=kind, fields="id,text", vectors="binary") as started:
        wait_for(lambda: metric(started, "millstream_records_total"), "all records", lambda n: n == N)
    found = topics.read()
    if kind == "arrow":
        table = pa.concat_tables([pa.ipc.open_stream(one.value()).read_all() for one in found])
        values = table.to_pylist()
    else:
        decode = json.loads if kind == "json" else msgspec.msgpack.decode
        values = [decode(one.value()) for one in found]
    assert all(list(value) == ["id", "text", "embedding", "model_version"] for value in values)
    assert sorted(value["id"] for value in values) == list(range(N))
    raw = [base64.b64decode(v["embedding"]) if kind == "json" else v["embedding"] for v in values]
    vectors = np.frombuffer(b"".join(raw), np.float32).reshape(N, -1)
    assert np.array_equal(vectors, encoder.encode(texts(values)))


def test_plain_text(topics, worker):
    topics.write([b"login failed", b"\xff", b"disk full"])
    with worker(input_format="text"):
        topics.read(least=2)
        topics.read_dead(least=1)
    values, dead = topics.read_values(), topics.read_dead()
    assert sorted(texts(values)) == ["disk full", "login failed"]
    assert [message.value() for message in dead] == [b"\xff"]


def test_bad_records_go_to_the_dead_letters_and_delay_no_other(topics, worker):
    bad = list(BAD) * 3
    messages = events()
    for i, value in enumerate(bad):
        key = None if value is None else "bad"  # with a key it is a delete
        messages.insert(i * 17, (key, value, [("h", b"x")]))
    topics.write(messages)
    with worker(max_dead_letters="1.0"):
        topics.read(least=N)
        topics.read_dead(least=len(bad))
    values, dead = topics.read_values(), topics.read_dead()
    assert sorted(value["id"] for value in values) == list(range(N))
    assert sorted(map(repr, bad)) == sorted(repr(message.value()) for message in dead)
    for message in dead:
        headers = dict(message.headers())
        assert (message.key(), headers["h"]) == (message.value() and b"bad", b"x")
        assert headers["__connect.errors.topic"] == topics.input.encode()
        assert BAD[message.value()] in headers["__connect.errors.exception.message"].decode()
    places = {
        (headers["__connect.errors.partition"], headers["__connect.errors.offset"])
        for headers in (dict(message.headers()) for message in dead)
    }
    assert len(places) == len(bad)


def test_a_record_that_is_too_large_for_the_output_is_a_dead_letter(kafka, topics, worker):
    small = kafka.create_topic(f"{topics.output}-small", 1, max_message_bytes="20000")
    large = ("k", json.dumps({"id": N, "text": "x" * 30_000}), None)
    topics.write([large, *events(), large])
    with worker([f"topic:{small}"]):
        topics.read_dead(least=2)
        topics.output = small
        topics.read(least=N)
    dead = topics.read_dead()
    assert sorted(value["id"] for value in topics.read_values()) == list(range(N))
    assert [message.value() for message in dead] == [large[1].encode()] * 2
    reason = dict(dead[0].headers())["__connect.errors.exception.message"].decode()
    assert f"topic '{small}' takes" in reason


def test_a_letter_that_is_too_large_comes_without_its_value(kafka, topics, worker):
    small = kafka.create_topic(f"{topics.dead}-small", 1, max_message_bytes="20000")
    topics.write([b"x" * 30_000, *events()])
    with worker(dead_letters=f"topic:{small}"):
        topics.dead = small
        topics.read_dead(least=1)
        topics.read(least=N)
    [letter] = topics.read_dead()
    assert len(topics.read()) == N
    assert letter.value() is None
    assert dict(letter.headers())["__connect.errors.value.omitted"] == b"30000 bytes"


def metric(started, name, **labels):
    return started.metrics.registry.get_sample_value(name, labels)


def test_too_many_bad_records_stop_the_worker(topics, worker):
    topics.write([b"oops"] * 500)
    with (
        pytest.raises(InputError, match=r"of the last \d+ records are bad.*not JSON"),
        worker(ends_itself=True),
    ):
        pass


def parquet_rows(folder):
    return pa.concat_tables(map(pq.read_table, folder.rglob("*.parquet"))).sort_by("id")


@pytest.mark.parametrize("layout", ["list", "binary"])
def test_parquet(layout, topics, worker, encoder, matrix, tmp_path):
    messages = events(5000)
    messages[100] = ("k", b"oops", None)
    messages[200] = ("k", b'{"id":"text"}', None)
    topics.write(messages)
    options = {
        "outputs": [f"parquet:{tmp_path}/out"],
        "dead_letters": f"parquet:{tmp_path}/dead",
        "vectors": layout,
        "rows_per_file": 500,
        "seconds_per_file": 1.0,
        "text": "{text} {id}",
    }
    with worker(**options):
        wait_for(lambda: rows_of(tmp_path / "out"), "the first rows", lambda n: n == 4998)
    topics.write(events(1000, first=5000))
    with worker(**options):
        wait_for(lambda: rows_of(tmp_path / "out"), "the other rows", lambda n: n == 5998)
    table = parquet_rows(tmp_path / "out")
    assert table["id"].to_pylist() == [i for i in range(6000) if i not in (100, 200)]
    expected = encoder.encode([f"login failed {i} {i}" for i in table["id"].to_pylist()])
    assert np.array_equal(matrix(table), expected)
    assert table["more"].to_pylist() == [[i] for i in table["id"].to_pylist()]
    dead = pq.read_table(tmp_path / "dead").sort_by("value")
    assert dead["value"].to_pylist() == [b"oops", b'{"id":"text"}']
    assert dead["key"].to_pylist() == [b"k", b"k"]
    assert set(dead["topic"].to_pylist()) == {topics.input}
    assert any("expected a whole number" in reason for reason in dead["reason"].to_pylist())


def test_an_output_belongs_to_one_topic(topics, worker, tmp_path):
    topics.write(events())
    with worker([f"parquet:{tmp_path}/out"]):
        pass
    topics.input, topics.output = topics.output, topics.input
    with pytest.raises(OutputConflict, match="name another folder"), worker([f"parquet:{tmp_path}/out"]):
        pass


def test_several_topics_into_one_output_that_later_takes_more(kafka, topics, worker, tmp_path):
    stem = topics.input
    names = [kafka.create_topic(f"{stem}-{end}", 2) for end in ("a", "b", "c")]
    for n, name in enumerate(names):
        topics.input = name
        topics.write(events(first=n * N))
    outputs = [f"parquet:{tmp_path}/out", f"topic:{topics.output}"]
    with worker(outputs, inputs=names[:2], properties={"statistics.interval.ms": "100"}) as started:
        assert len(topics.read(least=2 * N)) == 2 * N
        places = [{"topic": name, "partition": str(p)} for name in names[:2] for p in range(2)]
        lags = lambda: [metric(started, "millstream_lag_records", **place) for place in places]
        wait_for(lags, "no lag", lambda found: found == [0] * 4)
    with worker(outputs, inputs=[f"^(?:__|{stem}-)"]):
        topics.read(least=3 * N)
    values = topics.read_values()
    assert sorted(value["id"] for value in values) == list(range(3 * N))
    assert parquet_rows(tmp_path / "out")["id"].to_pylist() == list(range(3 * N))
    folders = {str(path.parent.relative_to(tmp_path / "out")) for path in tmp_path.rglob("*.parquet")}
    assert folders <= {f"{name}/p{p}" for name in names for p in range(2)}
    assert {folder.split("/")[0] for folder in folders} == set(names)
    assert topics.read_dead() == []


def test_an_empty_topic_needs_types(topics, worker, tmp_path):
    with pytest.raises(ConfigurationError, match="--fields id:int64"), worker([f"parquet:{tmp_path}/out"]):
        pass
    with worker([f"parquet:{tmp_path}/out"], fields="id:int64,text:string", seconds_per_file=0.5):
        topics.write(events())
        wait_for(lambda: rows_of(tmp_path / "out"), "all rows", lambda n: n == N)
    table = parquet_rows(tmp_path / "out")
    assert table["id"].to_pylist() == list(range(N))
    assert table.column_names == ["id", "text", "embedding", "model_version"]


def test_topics_and_parquet_at_once_go_on_where_each_was(topics, worker, tmp_path):
    topics.write(events(1000))
    outputs = [f"topic:{topics.output}", f"parquet:{tmp_path}/out"]
    with worker(outputs, rows_per_file=1_000_000, seconds_per_file=3600.0):
        assert len(topics.read(least=1000)) == 1000
    topics.write(events(1000, first=1000))
    with worker(outputs, rows_per_file=100):
        topics.read(least=2000)
    values = topics.read_values()
    assert sorted(value["id"] for value in values) == list(range(2000))
    assert parquet_rows(tmp_path / "out")["id"].to_pylist() == list(range(2000))


def test_a_restart_neither_repeats_nor_skips(topics, worker):
    for first in range(0, 900, 300):
        topics.write(events(300, first=first))
        with worker():
            topics.read(least=first + 300)
    assert sorted(value["id"] for value in topics.read_values()) == list(range(900))


def test_a_group_that_begins_at_the_end_skips_nothing_after_that(topics, worker):
    topics.write(events(100))
    options = {"properties": {"auto.offset.reset": "latest"}}
    with worker(**options) as started:
        wait_for(lambda: started.source.positions.owned, "partitions")
    topics.write(events(100, first=100))
    with worker(**options):
        topics.read(least=100)
    values = topics.read_values()
    assert sorted(value["id"] for value in values) == list(range(100, 200))


def test_the_new_group_protocol(topics, worker):
    topics.write(events())
    with worker(properties={"group.protocol": "consumer"}):
        topics.read(least=N)
    assert sorted(v["id"] for v in topics.read_values()) == list(range(N))


def test_a_newer_model_is_taken_between_batches(topics, worker, tmp_path, model, tiny_model):
    store = ModelStore.open((tmp_path / "store/minilm").as_uri())
    store.publish(model)
    topics.write(events())
    with worker(model=store.uri, model_seconds=0.1) as started:
        topics.read(least=N)
        store.publish(tiny_model(tmp_path / "next", seed=8))
        wait_for(lambda: metric(started, "millstream_model_version"), "version 2", lambda n: n == 2)
        topics.write(events(first=N))
        topics.read(least=2 * N)
    values = topics.read_values()
    assert {v["model_version"] for v in values if v["id"] < N} == {"minilm@1"}
    assert {v["model_version"] for v in values if v["id"] >= N} == {"minilm@2"}


def test_a_store_that_is_away_at_the_start_is_replaced_by_the_cache(
    topics, worker, model, s3_environment, monkeypatch, caplog
):
    away = threading.Event()
    with lossy_proxy(s3_environment.port, lambda *_: "503" if away.is_set() else "") as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        store = ModelStore.open(f"s3://{s3_environment.bucket}/{topics.group}/minilm")
        store.publish(model)
        with worker(model=store.uri):
            pass
        away.set()
        topics.write(events())
        with caplog.at_level("WARNING", "pipelines"), worker(model=store.uri) as started:
            topics.read(least=N)
            assert started.follower.from_cache
    values = topics.read_values()
    assert {value["model_version"] for value in values} == {"minilm@1"}
    assert "starting with minilm@1 from the local cache" in caplog.text


@pytest.mark.parametrize("missing", ["input", "output", "dead"])
def test_a_topic_that_is_not_there_is_named(missing, topics, worker):
    setattr(topics, missing, "nowhere")
    with pytest.raises(ConfigurationError, match="there is no topic 'nowhere'"), worker():
        pass


def test_a_regular_expression_that_matches_nothing_is_named(worker):
    with (
        pytest.raises(ConfigurationError, match="no topic that matches '\\^nothing'"),
        worker(inputs=["^nothing"]),
    ):
        pass


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ({"no.such.thing": "1"}, 'consumer.s properties: No such configuration property: "no.such.thing"'),
        ({"max.poll.interval.ms": "1000"}, "must be >= `session.timeout.ms`"),
        ({"compression.type": "x"}, "producer's properties: Invalid value"),
    ],
)
def test_properties_that_librdkafka_refuses_are_named(properties, says, worker):
    with pytest.raises(ConfigurationError, match=says), worker(properties=properties):
        pass


def test_a_group_of_another_program_is_named(kafka, topics, worker):
    other = Consumer({"bootstrap.servers": kafka.address, "group.id": topics.group})  # shares by ranges
    other.subscribe([topics.input])
    try:
        wait_for(lambda: other.poll(0.1) or other.assignment(), "the other program's partitions")
        with (
            pytest.raises(ConfigurationError, match="the group has members of another program"),
            worker(ends_itself=True),
        ):
            pass
    finally:
        other.close()


def get(address, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{address[1]}{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_endpoints(topics, worker):
    topics.write(events())
    with worker(properties={"statistics.interval.ms": "200"}) as started:
        server = serve("127.0.0.1:0", started.metrics, lambda: bool(started.source.positions.owned))
        topics.read(least=N)
        lag = {"partition": "0", "topic": topics.input}
        wait_for(lambda: metric(started, "millstream_lag_records", **lag), "no lag", lambda n: n == 0)
        assert get(server.server_address, "/healthz")[0] == 200
        assert get(server.server_address, "/readyz") == (200, "ready\n")
        assert get(server.server_address, "/other")[0] == 404
        status, text = get(server.server_address, "/metrics")
    assert status == 200
    assert f"millstream_records_total {float(N)}" in text
    assert f'millstream_lag_records{{partition="0",topic="{topics.input}"}} 0.0' in text
    assert "millstream_assigned_partitions 4.0" in text
    assert 'millstream_commits_total{outcome="committed"}' in text
    value = started.metrics.registry.get_sample_value
    for histogram in ("batch_records", "encode_seconds", "commit_seconds", "latency_seconds"):
        assert value(f"millstream_{histogram}_count") >= 1, histogram
    assert value("millstream_bytes_total") == sum(len(message[1]) for message in events())
    assert 0 <= time.time() - value("millstream_model_loaded_timestamp_seconds") < 600  # the model's age
    started.metrics.last_turn -= 100
    assert get(server.server_address, "/healthz")[0] == 503
    assert get(server.server_address, "/readyz")[0] == 503
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", ["json", "msgpack", "arrow"])
def test_scores_of_heads_stand_in_messages_and_files(kind, topics, worker, headed, score_names, tmp_path):
    topics.write(events())
    model = headed()
    outputs = [f"topic:{topics.output}", f"parquet:{tmp_path / 'out'}"]
    with worker(outputs, model=str(model), format=kind, seconds_per_file=0.2):
        topics.read(least=1 if kind == "arrow" else N)
        wait_for(lambda: rows_of(tmp_path / "out"), "all rows", lambda n: n == N)
    found = topics.read()
    encoder = Encoder.load(model)
    table = pq.read_table(tmp_path / "out").sort_by("id")
    assert table.column_names == ["id", "text", "more", "embedding", "model_version", *score_names]
    texts = table["text"].to_pylist()
    expected = score_columns(encoder.heads, encoder.encode(texts), texts)
    for name, column in zip(score_names, expected, strict=True):
        assert table[name].to_pylist() == column.to_pylist(), name
    if kind == "arrow":
        [first, *_] = [pa.ipc.open_stream(message.value()).read_all() for message in found]
        assert first.column_names == table.column_names
        return
    decode = json.loads if kind == "json" else msgspec.msgpack.decode
    for value in map(decode, (message.value() for message in found)):
        row = {name: table[name][value["id"]].as_py() for name in score_names}
        assert value["fraud_label"] == row["fraud_label"]
        assert value["incident_nearest"] == row["incident_nearest"]
        assert value["odd_novel"] == row["odd_novel"]
        assert value["tags_labels"] == row["tags_labels"]
        assert np.float32(value["fraud_score"]) == np.float32(row["fraud_score"])
        assert list(value["tags_scores"]) == list(row["tags_scores"])


def test_a_followed_version_with_other_heads_changes_fields_and_begins_a_new_file(
    topics, worker, headed, tmp_path
):
    store = ModelStore.open((tmp_path / "store/tiny").as_uri())
    store.publish(headed("fraud"))
    outputs = [f"topic:{topics.output}", f"parquet:{tmp_path / 'out'}"]
    options = {"model": f"{store.uri}@latest", "model_seconds": 0.1, "seconds_per_file": 60}
    topics.write(events())
    with worker(outputs, **options) as started:
        topics.read(least=N)
        store.publish(headed("odd"))
        wait_for(lambda: started.follower.current().version, "version 2", lambda n: n == 2)
        topics.write(events(first=N))
        topics.read(least=2 * N)
    found = topics.read_values()
    by_version = {"tiny@1": {"fraud_label", "fraud_score"}, "tiny@2": {"odd_distance", "odd_novel"}}
    for value in found:
        scores = set(value) - {"id", "text", "more", "embedding", "model_version"}
        assert scores == by_version[value["model_version"]]
    ids = []
    for path in (tmp_path / "out").glob("*/p*/*.parquet"):
        table = pq.read_table(path)
        (label,) = set(table["model_version"].to_pylist())
        assert by_version[label] == set(table.column_names[-2:])
        ids += table["id"].to_pylist()
    assert sorted(ids) == list(range(2 * N))


def test_a_version_without_a_wanted_head_is_not_followed(topics, worker, headed, model, tmp_path):
    store = ModelStore.open((tmp_path / "store/tiny").as_uri())
    store.publish(headed("fraud"))
    options = {"model": f"{store.uri}@latest", "model_seconds": 0.1}
    with (
        pytest.raises(ConfigurationError, match="no head 'odd': it has fraud"),
        worker(heads="odd", **options),
    ):
        pass
    with worker(heads="fraud", **options) as started:
        store.publish(model)
        wait_for(lambda: started.follower.refused, "a refused version", lambda n: n == 1)
        topics.write(events())
        topics.read(least=N)
    found = topics.read_values()
    assert {value["model_version"] for value in found} == {"tiny@1"}
    assert all("fraud_label" in value for value in found)


def rows_of(folder):
    return sum(pq.read_metadata(path).num_rows for path in folder.glob("*/p*/*.parquet"))
