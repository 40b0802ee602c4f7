"""No record stops the worker: whatever comes, good records come out once, and bad ones are dead letters."""

import itertools
import json
import sys

import msgspec
import pyarrow as pa
import pytest
from amounts import amount
from confluent_kafka.schema_registry import SchemaRegistryClient
from faults.messages import FakeMessage, read_all
from faults.verifier import verify
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from patience import wait_for
from plans import plan_of
from topics import TopicReader

from pipelines.enrich.model_follower import FollowedModel
from pipelines.kafka.registry import Registry
from pipelines.sinks.kafka import TopicSink, record_encoder
from pipelines.worker.configuration.schemas import Schemas
from pipelines.worker.decode import PlainValues, RecordDecoder
from pipelines.worker.sinks import Outputs

SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string()), ("x", pa.float64())])
HUGE = 123456789012345678901234567890
NAMELESS = SystemError("<method 'headers'> returned a result with an exception set")
_LEVELS = 960 if sys.version_info < (3, 12) else 20_000  # newer Pythons let C code nest 10,000 levels
DEEP = b'{"text":%s%s}' % (b"[" * _LEVELS, b"]" * _LEVELS)


class Producer:
    """Keeps what it is given."""

    def __init__(self):
        self.sent = {"out": [], "dead": []}

    def produce(self, topic, value, key, _partition, _callback, _on_delivery, timestamp, headers):
        assert -(2**63) <= timestamp < 2**63
        for name, content in headers or ():
            assert isinstance(name, str)
            assert content is None or isinstance(content, bytes)
        self.sent[topic].append((key, value, dict(headers or ())))


class Commits:
    offset = 0

    def begin(self):
        pass

    def commit(self, parts):
        self.offset = parts[-1].offset
        return True


def encoder_of(kind, chosen):
    """What makes messages of records, as in `Prepared.encode`."""
    if kind == "arrow":
        return None
    if kind == "avro":
        registry = Registry(SchemaRegistryClient.new_client({"url": "mock://x"}), "mock://x")
        return Schemas(chosen, registry).messages(SCHEMA, ())
    encode = record_encoder(kind, None)
    return lambda made: encode(made.records, made.batch["embedding"], made.label, made.scores)


@pytest.fixture(scope="module")
def run(model):
    from encoder import Encoder

    followed = FollowedModel(Encoder.load(model, threads=1), "tiny@7", 7, 0.0)

    def work(messages, kind="json", size=2000, max_bytes=100_000):
        """The messages that come out, and the dead letters."""
        chosen = plan_of(
            "topic:out", format=kind, schema_registry="mock://x", fields="id:int64,text,x:float64"
        )
        schema = SCHEMA if chosen.needs_columns else None
        producer, commits = Producer(), Commits()
        for offset, message in enumerate(messages):
            message.offset_, message.key_ = offset, b"%d" % offset
        outputs = Outputs(
            topics=[TopicSink(producer, "out", max_bytes)],
            encode=encoder_of(kind, chosen),
            letters_topic=TopicSink(producer, "dead", max_bytes),
        )
        decoder = RecordDecoder(chosen, schema, PlainValues(chosen, schema))
        read_all(messages, size, decoder, outputs, commits, model=followed, records=100_000)
        assert commits.offset == len(messages)
        return producer.sent["out"], producer.sent["dead"]

    return work


def record(number, **more):
    return json.dumps({"id": number, "text": f"login failed {number}", "x": 0.5, **more}).encode()


def reason(letter):
    return letter[2]["__connect.errors.exception.message"].decode()


@pytest.mark.parametrize("size", [1, 2000])
@pytest.mark.parametrize(
    ("bad", "kind", "stage", "says"),
    [
        (FakeMessage(record(HUGE)), "msgpack", "TASK_PUT", "OverflowError: can't serialize ints"),
        (
            FakeMessage(record(1), headers_=NAMELESS),
            "json",
            "TASK_PUT",
            "InputError: a header's name is not UTF-8",
        ),
        (FakeMessage(DEEP), "json", "", "maximum recursion depth"),
    ],
)
def test_a_record_that_cannot_be_processed_is_a_letter(bad, kind, stage, says, size, run):
    messages = [FakeMessage(record(number)) for number in range(50)]
    messages[17] = bad
    found, [letter] = run(messages, kind, size)
    assert [int(key) for key, _, _ in found] == [number for number in range(50) if number != 17]
    assert letter[:2] == (b"17", bad.value_)
    assert says in reason(letter)
    if stage == "TASK_PUT":
        assert letter[2]["__connect.errors.stage"] == stage.encode()
        assert letter[2]["__connect.errors.exception.class.name"] in (
            b"builtins.OverflowError",
            b"encoder.errors.InputError",
        )


def test_a_letter_leaves_out_headers_that_nobody_can_read_and_says_so(run):
    _, [letter] = run([FakeMessage(record(1), headers_=NAMELESS)])
    assert letter[1] == record(1)
    assert letter[2]["__connect.errors.headers.omitted"] == b"a header's name is not UTF-8"


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.just("x" * 25_000),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
records = st.dictionaries(st.sampled_from(["id", "text", "x", "more"]), values, max_size=4)
strange = st.one_of(
    records.map(lambda one: json.dumps(one).encode("utf-8", "surrogatepass")),
    st.binary(max_size=20),
    st.sampled_from([DEEP, b'{"text":"\\ud800"}', b'{"text":1e400}', b"{}\n{}", b'{"text":"a","text":"b"}']),
    st.none(),
)
headers = st.sampled_from([None, None, [("h", b"v")], [("h", None)], NAMELESS])
good = st.integers(0, 2**53).map(record)
messages = st.lists(
    st.tuples(st.one_of(good, strange), headers, st.integers(-1, 2**63 - 1)), min_size=1, max_size=12
)


def as_sent(found):
    """What was sent for each record; Arrow messages are taken apart."""
    return [(key, value, sorted(about.items(), key=str)) for key, value, about in found]


@pytest.mark.parametrize("kind", ["json", "msgpack", "avro"])
@given(batch=messages)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_each_record_comes_out_or_is_a_letter_whatever_its_neighbours_are(run, kind, batch):
    def made():
        return [FakeMessage(value, headers_=about, milliseconds=at) for value, about, at in batch]

    found, letters = run(made(), kind)
    assert sorted(int(one[0]) for one in found + letters) == list(range(len(batch)))
    assert as_sent(found) == as_sent(run(made(), kind, size=1)[0])  # as if each had come alone
    if kind == "json":
        plain = [i for i, (value, about, _) in enumerate(batch) if _is_plain(value, about)]
        by_key = {int(key): value for key, value, _ in found}
        assert set(plain) <= set(by_key)
        for i in plain:
            written = msgspec.json.decode(by_key[i])
            assert {name: written[name] for name in ("id", "text", "x")} == json.loads(batch[i][0])
    for key, value, _ in letters:
        original = batch[int(key)][0]
        assert value == original or len(original) > 19_000


def _is_plain(value, about):
    return (
        value is not None
        and value.startswith(b'{"id": ')
        and b"login failed" in value
        and about in (None, [("h", b"v")])
    )


@given(batch=messages)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_of_arrow_messages_and_letters_are_all_records(run, batch):
    found, letters = run([FakeMessage(value, headers_=about) for value, about, _ in batch], "arrow")
    rows = sum(pa.ipc.open_stream(value).read_all().num_rows for _, value, _ in found)
    assert rows + len(letters) == len(batch)


def _fields(value):
    """The fields of a record or of a message, without those that are added; a delete has none."""
    if value is None:
        return None
    try:
        record = json.loads(value)
    except (ValueError, RecursionError):
        return "no JSON for Python"
    return {name: one for name, one in record.items() if name not in ("embedding", "model_version")}


@pytest.mark.server
@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_each_record_comes_out_or_is_a_letter_on_a_real_broker(delivery, topics, worker):
    written, numbers = {}, itertools.count()
    headers = st.sampled_from([None, [("h", b"v")], [("h", None)]])
    times = st.integers(1, 1_700_000_000_000)
    batches = st.lists(st.tuples(st.one_of(good, strange), headers, times), min_size=1, max_size=30)

    with (
        worker(delivery=delivery, max_dead_letters="100%"),
        TopicReader(topics.broker.address, topics.output) as output,
        TopicReader(topics.broker.address, topics.dead) as dead,
    ):

        def found():
            return output.read(), dead.read()

        @settings(
            max_examples=amount(5, 300), phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        @given(batch=batches)
        def holds(batch):
            messages = [(str(next(numbers)), *one) for one in batch]
            written.update({key: value for key, value, *_ in messages})
            topics.write(messages)
            records, letters = wait_for(
                found, "all records", lambda both: sum(map(len, both)) >= len(written)
            )
            bad = {
                key for one in letters if (key := one.key().decode()) and not _is_plain(written[key], None)
            }
            verdict = verify(
                {key: _fields(value) for key, value in written.items() if key not in bad},
                {key: written[key] for key in bad},
                [[(one.key().decode(), _fields(one.value())) for one in records]],
                [(one.key().decode(), one.value()) for one in letters],
            )
            assert verdict.is_right, (verdict, batch)

        holds()
