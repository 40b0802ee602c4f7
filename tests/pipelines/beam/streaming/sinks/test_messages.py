"""Batches as messages: values, keys, ids, and what no message is made of."""

import dataclasses
import json

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from encoder import Encoder
from pipelines.beam.streaming.batch import SourceBatch
from pipelines.beam.streaming.model import PinnedModel
from pipelines.beam.streaming.sinks.messages import MessageEncoder
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.enrich.columns import score_columns
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.bad_rows import BadRow
from pipelines.records.template import TextTemplate

TEXTS = ["login failed", None, "disk full"]


@pytest.fixture
def make(model):
    def run(batch, max_bytes=10**6, keep=("id",), **changes):
        fixed = PinnedModel(ModelVersion.resolve(str(model)))
        messages = MessageEncoder(fixed, Enrichment(TextTemplate.parse("text"), keep), **changes)
        return messages.encode(batch, max_bytes, BatchMetrics())

    return run


def batch(texts=TEXTS, keys=None, bad=()):
    n = len(texts)
    records = pa.record_batch({"id": range(n), "text": pa.array(texts, pa.string())})
    times = np.arange(n, dtype=np.int64)
    return SourceBatch("events/0", records, 100 + np.arange(n), times, bad, 0, 0, keys)


def test_a_message_a_record_with_its_id_key_and_time(make, encoder):
    unread = BadRow("events/0", 99, "not JSON", b"oops")
    made, bad = make(batch(keys=(b"a", b"b", None), bad=(unread,)))
    values = [json.loads(one.value) for one in made]
    assert [(value["id"], one.id, one.time) for value, one in zip(values, made, strict=True)] == [
        (0, "events/0:100", 0),
        (2, "events/0:102", 2),
    ]
    assert [set(value) for value in values] == [{"id", "embedding", "model_version"}] * 2
    assert np.array_equal(
        np.float32([value["embedding"] for value in values]), encoder.encode(["login failed", "disk full"])
    )
    assert [one.key for one in made] == [b"a", b"events/0:102"]  # one without a key has its id
    assert bad[0] is unread
    assert [(one.row, one.reason) for one in bad[1:]] == [(101, "the text is null: text")]
    assert json.loads(bad[1].record) == {"id": 1, "text": None}


def test_keys_may_be_made_of_fields(make):
    made, _ = make(batch(keys=(b"a", b"b", b"c")), key=TextTemplate.parse("user {id}"))
    assert [one.key for one in made] == [b"user 0", b"user 2"]


@pytest.mark.parametrize("kind", ["json", "msgpack"])
def test_no_column_need_be_kept(make, kind):
    made, _ = make(batch(), keep=(), format=kind)
    decode = json.loads if kind == "json" else msgspec.msgpack.decode
    assert [set(decode(one.value)) for one in made] == [{"embedding", "model_version"}] * 2


def test_arrow_messages_say_where_each_row_comes_from(make, encoder):
    texts = [f"login failed {i}" for i in range(50)]
    made, bad = make(batch([*texts, None]), max_bytes=3000, format="arrow")
    tables = [pa.ipc.open_stream(one.value).read_all() for one in made]
    assert len(tables) > 1
    assert all(len(one.value) <= 3000 and one.key is None for one in made)
    table = pa.concat_tables(tables)
    assert table["id"].to_pylist() == list(range(50))
    assert set(table["_millstream_source"].to_pylist()) == {"events/0"}
    assert table["_millstream_row"].to_pylist() == list(range(100, 150))
    assert [one.id for one in made] == [f"events/0:{one['_millstream_row'][0].as_py()}" for one in tables]
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(50, -1)
    assert np.array_equal(vectors, encoder.encode(texts))
    assert [one.row for one in bad] == [150]


@pytest.mark.parametrize("kind", ["json", "arrow"])
def test_what_is_too_large_is_a_bad_row(make, kind):
    texts = ["login", "x" * 5000, "disk"]
    made, bad = make(batch(texts), max_bytes=4000, keep=("id", "text"), format=kind)
    assert [one.row for one in bad] == [101]
    assert "the topic accepts 4,000" in bad[0].reason
    if kind == "json":
        assert [one.id for one in made] == ["events/0:100", "events/0:102"]
    else:
        rows = [row for one in made for row in pa.ipc.open_stream(one.value).read_all()["id"].to_pylist()]
        assert rows == [0, 2]


def test_nothing_is_made_of_nothing(make):
    assert make(batch([None]))[0] == []
    assert make(batch([None]), format="arrow")[0] == []


@pytest.mark.parametrize("kind", ["json", "msgpack", "arrow"])
def test_messages_carry_the_scores_of_heads(kind, headed, score_names):
    folder, texts = headed(), ["login failed", "disk full"]
    encoder = Encoder.load(folder, threads=1)
    fixed = PinnedModel(ModelVersion.resolve(str(folder)))
    messages = MessageEncoder(fixed, Enrichment(TextTemplate.parse("text"), ("id",)), format=kind)
    made, bad = messages.encode(batch(texts), 10**6, BatchMetrics())
    assert not bad
    if kind == "arrow":
        found = [row for one in made for row in pa.ipc.open_stream(one.value).read_all().to_pylist()]
    else:
        decode = json.loads if kind == "json" else msgspec.msgpack.decode
        found = [decode(one.value) for one in made]
    columns = score_columns(encoder.heads, encoder.encode(texts))
    for name, column in zip(score_names, columns, strict=True):
        values = [row[name] for row in found]
        if kind == "json" and pa.types.is_floating(column.type):
            values = np.float32(values).tolist()
        if kind == "json" and pa.types.is_struct(column.type):
            values = [{label: float(np.float32(score)) for label, score in row.items()} for row in values]
        assert values == column.to_pylist(), name


@pytest.mark.parametrize("kind", ["json", "msgpack", "arrow"])
def test_a_record_that_cannot_be_a_message_is_a_bad_row(make, kind):
    records = batch(["a", "b", "c"]).records
    times = pa.array([0, 1_764_000_000_000_000_000, 1], pa.timestamp("us", "UTC"))
    strange = dataclasses.replace(batch(["a", "b", "c"]), records=records.append_column("at", times))
    made, bad = make(strange, keep=("id", "at"), format=kind)
    if kind == "arrow":  # which holds such a time
        [message] = made
        assert pa.ipc.open_stream(message.value).read_all()["at"].combine_chunks().equals(times)
        return
    assert [one.id for one in made] == ["events/0:100", "events/0:102"]
    assert [one.row for one in bad] == [101]
    assert "out of range" in bad[0].reason
    assert json.loads(bad[0].record) == {"id": 1, "text": "b", "at": times[1].value}
