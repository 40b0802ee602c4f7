"""Messages of many records each: rows keep their values, bad ones leave alone, and files hold each once."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from amounts import amount
from arrow_messages import rows_of, stream_of
from faults.doubles import Clock, DictObjects
from faults.messages import FakeMessage, batch_of, read_all
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import plan_of

from encoder.errors import InputError
from pipelines.enrich.model_follower import FollowedModel
from pipelines.sinks.kafka import TopicSink, record_encoder
from pipelines.sinks.offset_files import OffsetFiles
from pipelines.sinks.open_files import Rotation
from pipelines.worker.arrow_values import ArrowValues, needed_columns
from pipelines.worker.configuration.columns import fields_seen, output_schema
from pipelines.worker.decode import RecordDecoder
from pipelines.worker.sinks import Outputs
from pipelines.worker.unpack import RowsOfEach

TEXT = "paid"
GOOD = [stream_of({"id": [i, i + 1], "text": [TEXT, TEXT]}) for i in (0, 10, 20)]


class Producer:
    def __init__(self):
        self.sent = []

    def produce(self, topic, value, key, _partition, _callback, _on_delivery, timestamp, headers):
        self.sent.append(SimpleNamespace(topic=topic, value=value, key=key, time=timestamp, headers=headers))

    def of(self, topic):
        return [one for one in self.sent if one.topic == topic]


class Commits:
    def begin(self):
        pass

    def commit(self, _parts):
        return True

    def abort(self):
        pass


class Rig:
    """A worker that reads Arrow messages into a topic, a folder, or both; dead letters go to both."""

    def __init__(self, encoder, sample=GOOD, outputs=("topic:out",), objects=None, limit=1 << 20, **options):
        self.plan = plan_of(*outputs, input_format="arrow", **options)
        schema = output_schema(self.plan, fields_seen(self.plan, sample)) if self.plan.needs_columns else None
        self.decoder = RecordDecoder(self.plan, schema, ArrowValues(self.plan, schema))
        self.model = FollowedModel(encoder, "tiny@7", 7, 0.0)
        self.unpack = RowsOfEach(limit, 4 * encoder.dim, needed_columns(self.plan))
        self.producer = Producer()
        self.objects = objects or DictObjects(Clock())
        self.letters = DictObjects(Clock())
        encode = None
        if self.plan.settings.format == "json":
            as_json = record_encoder("json", self.plan.fields)
            encode = lambda made: as_json(made.records or (), made.batch["embedding"], made.label)
        self._encode = encode
        self.commits = Commits()

    def read(self, messages, size=2, budget=1.0, limit=1 << 20):
        def files(objects):
            return OffsetFiles(objects, Rotation(rows=4), {}, lambda _: ("in", 0))

        outputs = Outputs(
            topics=[TopicSink(self.producer, topic, limit) for topic in self.plan.topics],
            encode=self._encode,
            files=files(self.objects) if self.plan.rows_output else None,
            letters_topic=TopicSink(self.producer, "dead", limit),
            letters_files=files(self.letters),
            many_rows=True,
        )
        values = [one if isinstance(one, FakeMessage) else FakeMessage(one) for one in messages]
        for offset, one in enumerate(values):
            one.offset_ = offset
        read_all(
            values,
            size,
            self.decoder,
            outputs,
            self.commits,
            model=self.model,
            budget=budget,
            unpack=self.unpack,
        )
        for one in outputs.files:
            one.close()
        return self

    def topic(self):
        """The records in the output topic."""
        values = [one.value for one in self.producer.of("out")]
        if self.plan.settings.format == "arrow":
            return [row for value in values for row in rows_of(value)]
        return [json.loads(value) for value in values]

    def ids(self):
        return [record["id"] for record in self.topic()]

    def rows(self, objects=None):
        tables = [
            pq.read_table(pa.BufferReader(data)) for data, _ in (objects or self.objects).content.values()
        ]
        return [row for table in tables for row in table.to_pylist()]


@pytest.mark.parametrize("kind", ["json", "arrow"])
def test_each_row_is_a_record_with_its_vector(kind, encoder):
    more = {"format": kind} if kind == "arrow" else {}
    rig = Rig(encoder, outputs=("topic:out", "parquet:x"), **more).read(GOOD)
    wanted = [0, 1, 10, 11, 20, 21]
    assert rig.ids() == [row["id"] for row in rig.rows()] == wanted
    vector = encoder.encode([TEXT])[0].tolist()
    for record in (*rig.topic(), *rig.rows()):
        assert np.allclose(record["embedding"], vector)
        assert record["model_version"] == "tiny@7"
    assert rig.producer.of("dead") == []


def test_rows_have_the_key_the_headers_and_the_time_of_their_message(encoder):
    messages = [
        FakeMessage(GOOD[0], b"k", [("trace", b"1")], milliseconds=1_700_000_000_000),
        FakeMessage(GOOD[1], milliseconds=1_700_000_000_500),
    ]
    rig = Rig(encoder).read(messages)
    sent = rig.producer.of("out")
    assert [one.key for one in sent] == [b"k", b"k", None, None]
    assert [one.headers for one in sent] == [[("trace", b"1")]] * 2 + [None] * 2
    assert [one.time for one in sent] == [1_700_000_000_000] * 2 + [1_700_000_000_500] * 2
    rig = Rig(encoder, format="arrow").read(messages)
    assert [one.time for one in rig.producer.of("out")] == [1_700_000_000_500]


def test_only_a_bad_row_becomes_a_dead_letter_and_it_is_a_message_of_its_own(encoder):
    mixed = stream_of({"id": [1, 2, 3], "text": ["a", None, "c"]})
    rig = Rig(encoder, outputs=("topic:out", "parquet:x")).read([GOOD[1], mixed, b"junk", GOOD[2]])
    assert rig.ids() == [row["id"] for row in rig.rows()] == [10, 11, 1, 3, 20, 21]
    row, whole = rig.producer.of("dead")
    assert rows_of(row.value) == [{"id": 2, "text": None}]
    headers = dict(row.headers)
    assert (headers["__connect.errors.offset"], headers["__connect.errors.row"]) == (b"1", b"1")
    assert whole.value == b"junk"
    assert "__connect.errors.row" not in dict(whole.headers)
    assert b"not an Arrow IPC stream" in dict(whole.headers)["__connect.errors.exception.message"]
    assert [(one["offset"], one["row"], one["value"]) for one in rig.rows(rig.letters)] == [
        (1, 1, row.value),
        (2, None, b"junk"),
    ]


def test_a_message_of_which_every_part_fails_is_in_the_files_once(encoder):
    """Rows of one offset come to the files together, however often a batch is divided."""
    rig = Rig(encoder, outputs=("topic:out", "parquet:x"), format="arrow")
    large = {"id": range(40), "text": ["x" * (20_000 if i % 7 == 3 else 10) for i in range(40)]}
    rig.read([stream_of(large), GOOD[0]], limit=10_000)
    wanted = [i for i in range(40) if i % 7 != 3] + [0, 1]
    assert rig.ids() == [row["id"] for row in rig.rows()] == wanted
    letters = rig.producer.of("dead")
    assert [dict(one.headers)["__connect.errors.row"] for one in letters] == [
        b"%d" % i for i in range(3, 40, 7)
    ]


def test_columns_that_differ_between_messages(encoder):
    other = stream_of({"text": ["b"], "id": pa.array([7], pa.int16()), "new": [1]})
    lacking, unfit = stream_of({"text": ["c"]}), stream_of({"id": ["x"], "text": ["d"]})
    rig = Rig(encoder, outputs=("topic:out", "parquet:x")).read([GOOD[0], other, lacking, unfit], size=4)
    assert [(row["id"], row["text"]) for row in rig.rows()] == [(0, TEXT), (1, TEXT), (7, "b"), (None, "c")]
    assert [record.get("new") for record in rig.topic()] == [None, None, 1, None]
    [letter] = rig.producer.of("dead")
    assert rows_of(letter.value) == [{"id": "x", "text": "d"}]
    assert rig.decoder.n_left_out == 1


def test_a_template_reads_columns_that_no_output_keeps(encoder):
    messages = [
        stream_of({"id": [1], "user": [{"name": "bo"}], "n": [5]}),
        stream_of({"id": [2], "user.name": ["al"], "n": pa.array([6.0])}),
    ]
    for outputs in (("topic:out",), ("parquet:x",)):
        rig = Rig(encoder, messages, outputs, fields="id", text="{user.name} {n}").read(messages)
        found = rig.rows() or rig.topic()
        assert [sorted(row) for row in found] == [["embedding", "id", "model_version"]] * 2
        vectors = np.array([row["embedding"] for row in found], np.float32)
        assert np.allclose(vectors, encoder.encode(["bo 5", "al 6"]))


def test_what_millstream_has_embedded_is_embedded_again(encoder):
    first = Rig(encoder, format="arrow").read(GOOD)
    embedded = [one.value for one in first.producer.of("out")]
    for options in ({"format": "arrow"}, {}):
        again = Rig(encoder, embedded, **options).read(embedded)
        assert again.ids() == first.ids()
        assert again.decoder.n_left_out == 0
    foreign = stream_of({"text": ["a"], "embedding": ["old"]})
    assert len(Rig(encoder).read([foreign]).producer.of("dead")) == 1


def test_deletes_and_messages_without_rows(encoder):
    empty = stream_of({"id": pa.array([], pa.int64()), "text": pa.array([], pa.string())})
    rig = Rig(encoder).read([empty, FakeMessage(None, b"k"), GOOD[0], empty, None])
    assert [(one.key, one.value is None) for one in rig.producer.of("out")] == [
        (b"k", True),
        (None, False),
        (None, False),
    ]
    assert [one.value for one in rig.producer.of("dead")] == [None]
    rig = Rig(encoder, outputs=("parquet:x",), tombstones="dead-letter").read([empty, GOOD[0], empty])
    assert [row["id"] for row in rig.rows()] == [0, 1]


def test_a_message_whose_rows_need_too_much_memory_is_a_dead_letter(encoder):
    bomb = stream_of({"id": [1], "text": ["0" * 5_000_000]}, compression="zstd")
    assert len(bomb) < 10_000
    rig = Rig(encoder).read([bomb, GOOD[0]])
    assert rig.ids() == [0, 1]
    assert [one.value for one in rig.producer.of("dead")] == [bomb]
    many = stream_of({"id": range(2000), "text": [TEXT] * 2000})
    rig = Rig(encoder, limit=100_000)  # 2,000 vectors are more
    assert rig.read([many]).ids() == []


def test_messages_are_taken_together_by_the_bytes_of_their_rows():
    large = stream_of({"text": ["0" * 900_000] * 5}, compression="zstd")
    unpack = RowsOfEach(1 << 30, 4, None)
    parts = unpack.parts(batch_of([FakeMessage(large)] * 4 + [FakeMessage(b"junk"), FakeMessage(None)]))
    assert parts == [(0, 1), (1, 2), (2, 3), (3, 6)]
    assert RowsOfEach(1 << 20, 4, None).parts(batch_of([FakeMessage(large)] * 4)) == [(0, 4)]  # none is read


def test_the_error_budget_counts_rows_and_a_damaged_message_for_its_size(encoder):
    bad = stream_of({"id": range(200), "text": [None] * 200})
    with pytest.raises(InputError, match=r"10[01] of the last 10[01] records are bad"):
        Rig(encoder).read([bad], budget=0.5)
    few = stream_of({"id": range(200), "text": [None] * 20 + [TEXT] * 180})
    assert len(Rig(encoder).read([few], budget=0.5).ids()) == 180
    with pytest.raises(InputError, match="are bad, more than"):
        Rig(encoder).read([b"junk" * 50_000], budget=0.5)


@pytest.mark.slow
@settings(max_examples=amount(20, 200))
@given(
    st.lists(st.lists(st.sampled_from(["good", "null", "wide"]), max_size=6) | st.just("junk"), max_size=8),
    st.integers(1, 4),
    st.sampled_from(["json", "arrow"]),
    st.integers(0, 8),
)
def test_every_row_is_in_one_place_once_also_after_a_restart(encoder, messages, size, kind, start):
    values, good, bad, n = [], [], [], 0
    for number, rows in enumerate(messages):
        if rows == "junk":
            values.append(b"junk")
            bad.append((number, None))
            continue
        ids = list(range(n, n + len(rows)))
        n += len(rows)
        texts = [None if row == "null" else "x" * (5000 if row == "wide" else 5) for row in rows]
        values.append(stream_of({"id": pa.array(ids, pa.int64()), "text": pa.array(texts, pa.string())}))
        good += [i for i, row in zip(ids, rows, strict=True) if row == "good"]
        bad += [(number, item) for item, row in enumerate(rows) if row != "good"]
    objects = DictObjects(Clock())
    options = {"outputs": ("topic:out", "parquet:x"), "objects": objects}
    rig = Rig(encoder, **options, **({"format": "arrow"} if kind == "arrow" else {}))
    rig.read(values[:start], size, limit=4000)  # a worker that ended before it committed
    again = Rig(encoder, **options, **({"format": "arrow"} if kind == "arrow" else {}))
    again.letters = rig.letters
    again.read(values, size, limit=4000)
    assert sorted(again.ids()) == sorted(row["id"] for row in again.rows()) == good
    assert [(one["offset"], one["row"]) for one in again.rows(again.letters)] == bad
