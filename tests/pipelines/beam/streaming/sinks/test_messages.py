"""Batches as messages: values, keys, ids, and what no message is made of."""

import json
from dataclasses import replace

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
from pipelines.kafka.messages import NO_TIMESTAMP
from pipelines.records.bad_rows import BadRow, Envelope
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
    assert np.array_equal(vectors, encoder.encode(texts), texts)
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
    columns = score_columns(encoder.heads, encoder.encode(texts), texts)
    for name, column in zip(score_names, columns, strict=True):
        values = [row[name] for row in found]
        if kind == "json" and pa.types.is_floating(column.type):
            values = np.float32(values).tolist()
        if kind == "json" and pa.types.is_struct(column.type):
            values = [{label: float(np.float32(score)) for label, score in row.items()} for row in values]
        if kind == "json" and name == "known_nearest":
            values = [
                [{**one, "similarity": float(np.float32(one["similarity"]))} for one in row] for row in values
            ]
        assert values == column.to_pylist(), name


def with_column(name, values):
    """Three records with one more column."""
    plain = batch(["a", "b", "c"])
    return replace(plain, records=plain.records.append_column(name, values))


@pytest.mark.parametrize("kind", ["json", "msgpack", "arrow"])
def test_a_record_that_cannot_be_a_message_is_a_bad_row(make, kind):
    notes = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    made, bad = make(with_column("note", notes), keep=("id", "note"), format=kind)
    if kind == "arrow":  # which holds such a text
        [message] = made
        assert pa.ipc.open_stream(message.value).read_all()["note"].combine_chunks().equals(notes)
        return
    assert [one.id for one in made] == ["events/0:100", "events/0:102"]
    assert [one.row for one in bad] == [101]
    assert "can't decode byte 0xff" in bad[0].reason
    assert json.loads(bad[0].record) == {"id": 1, "text": "b", "note": "\\xff"}


DELETES = tuple(
    BadRow("events/0", row, "a delete: the value is null", None, Envelope(b"k", (("h", b"x"),), 1000 + row))
    for row in (99, 101)
)


def with_deletes(**changes):
    stamps = np.array([5, NO_TIMESTAMP, 7])
    return replace(
        batch(["login", "disk", "full"], keys=(b"a", b"b", b"c")),
        rows=np.array([100, 102, 103]),
        timestamps=stamps,
        headers=((), (("t", b"1"),), ()),
        deletes=DELETES,
        **changes,
    )


def test_deletes_are_messages_without_a_value_in_their_place(make):
    made, bad = make(with_deletes())
    assert bad == []
    assert [(one.id, one.value is None) for one in made] == [
        ("events/0:99", True),
        ("events/0:100", False),
        ("events/0:101", True),
        ("events/0:102", False),
        ("events/0:103", False),
    ]
    assert [(one.key, one.headers, one.timestamp) for one in made] == [
        (b"k", (("h", b"x"),), 1099),
        (b"a", (), 5),
        (b"k", (("h", b"x"),), 1101),
        (b"b", (("t", b"1"),), NO_TIMESTAMP),
        (b"c", (), 7),
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tombstones": "drop"}, None),
        ({"tombstones": "dead-letter"}, "a delete: the value is null"),
        ({"format": "arrow"}, "Arrow messages hold it with --delete-columns alone"),
        ({"null_values": False}, "Pub/Sub has no null values"),
        ({"key": TextTemplate.parse("user {id}")}, "no key can be made of it with --key"),
    ],
)
def test_deletes_that_are_not_passed_on_are_dropped_or_letters_as_they_came(make, changes, reason):
    made, bad = make(with_deletes(), **changes)
    assert all(one.value is not None for one in made)
    assert [(one.row, one.record, one.envelope) for one in bad] == [
        (one.row, None, one.envelope) for one in (DELETES if reason else ())
    ]
    assert all(one.reason.endswith(reason) for one in bad)


def test_a_delete_that_is_too_large_is_a_bad_row(make):
    large = replace(DELETES[0], envelope=Envelope(b"k" * 5000))
    made, bad = make(replace(with_deletes(), deletes=(large,)), max_bytes=4000)
    assert (len(made), [one.row for one in bad]) == (3, [99])
    assert "the topic accepts 4,000" in bad[0].reason


def test_keys_and_headers_count(make):
    made, bad = make(batch(["login"], keys=(b"k" * 5000,)), max_bytes=4000)
    assert (made, [one.row for one in bad]) == ([], [100])


def test_deletes_are_rows_of_arrow_messages_with_their_columns(make, encoder):
    [one], bad = make(with_deletes(), format="arrow", delete_columns=True)
    table = pa.ipc.open_stream(one.value).read_all()
    assert bad == []
    assert table["_millstream_row"].to_pylist() == [99, 100, 101, 102, 103]
    assert table["deleted"].to_pylist() == [True, False, True, False, False]
    assert table["message_key"].to_pylist() == [b"k", b"a", b"k", b"b", b"c"]
    vectors = encoder.encode(["login", "disk", "full"]).tolist()
    assert table["embedding"].to_pylist() == [None, vectors[0], None, *vectors[1:]]
    assert one.timestamp == 1101


def test_a_record_without_text_among_deletes_is_a_bad_row(make):
    whole = with_deletes()
    records = whole.records.set_column(1, "text", pa.array(["login", None, "full"]))
    [one], [bad] = make(replace(whole, records=records), format="arrow", delete_columns=True)
    assert (bad.row, bad.reason) == (102, "the text is null: text")
    assert pa.ipc.open_stream(one.value).read_all()["_millstream_row"].to_pylist() == [99, 100, 101, 103]


@pytest.mark.parametrize("kind", ["json", "msgpack"])
@pytest.mark.parametrize(
    ("times", "text"),
    [
        (pa.array([0, 1_764_000_000_000_000_000, 1], pa.timestamp("us", "UTC")), "57868-12-07T16:00:00Z"),
        (pa.array([0, 1, 2], pa.timestamp("ns", "Europe/Paris")), "1970-01-01T00:00:00.000000001Z"),
        (pa.array([0, 2**31 - 1, 1], pa.int32()).cast(pa.date32()), "5881580-07-11"),
        (pa.array([0, 1, 2], pa.time64("ns")), "00:00:00.000000001"),
        (pa.array([0, 1, 2], pa.duration("ns")), "PT0.000000001S"),
        (pa.array([(1, 2, 3)] * 3, pa.month_day_nano_interval()), "P1M2DT0.000000003S"),
    ],
)  # fmt: skip
def test_times_that_python_does_not_hold_are_text(make, kind, times, text):
    made, bad = make(with_column("at", times), keep=("id", "at"), format=kind)
    assert not bad
    decode = json.loads if kind == "json" else msgspec.msgpack.decode
    assert decode(made[1].value)["at"] == text


def test_a_time_of_a_zone_keeps_its_instant(make):
    times = pa.array([-62_135_596_800, 0, 1], pa.timestamp("s", "Europe/Paris"))  # +00:09:21 until 1911
    made, _ = make(with_column("at", times), keep=("id", "at"))
    assert [json.loads(one.value)["at"] for one in made] == [
        "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        pa.array([0.5, float("nan"), None]),
        pa.array([0.5, float("-inf"), 1], pa.float32()),
        pa.array([[{"a": 0.5}], [{"a": None}, {"a": float("inf")}], None]),
        pa.array([[("a", 0.5)], [("a", float("nan"))], None], pa.map_(pa.string(), pa.float64())),
    ],
)
def test_numbers_that_json_does_not_have_are_bad_rows(make, values):
    made, bad = make(with_column("x", values), keep=("id", "x"))
    assert [one.id for one in made] == ["events/0:100", "events/0:102"]
    assert [one.row for one in bad] == [101]
    assert "field 'x' has NaN or infinity, which JSON does not have" in bad[0].reason
    assert not make(with_column("x", values), keep=("id", "x"), format="msgpack")[1]
