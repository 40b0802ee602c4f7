import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encoder.errors import ConfigurationError, InputError, OutputConflict, TemplateError
from encoder.store.store import ModelStore
from pipelines.beam.streaming.batch import Windows
from pipelines.beam.streaming.model import Fixed, Followed
from pipelines.beam.streaming.plan import claim_stream, plan_stream
from pipelines.beam.streaming.sink_options import OutputWords
from pipelines.beam.streaming.source_options import StreamInput, Timing

SUBSCRIPTION = "pubsub:projects/acme/subscriptions/events"


@pytest.fixture
def plan(tmp_path, model):
    (tmp_path / "in").mkdir()
    record = {"id": 1, "text": "paid", "at": 5, "user": {"name": "ana", "seen": 7}}
    (tmp_path / "in/a.jsonl").write_text(json.dumps(record) + "\n")

    def make(**changes):
        own = {"model": str(model), "source": StreamInput(f"files:{tmp_path / 'in'}"), "text": "text"}
        words = {
            name: changes.pop(name) for name in ("output", "shards", "dead_letters", "key") if name in changes
        }
        output = OutputWords(**{"text": words.pop("output", f"parquet:{tmp_path / 'out'}"), **words})
        return plan_stream(**{**own, "output": output, **changes})

    return make


def test_a_plan_keeps_all_columns_unless_some_are_named(plan):
    assert plan().output.file.enrichment.keep == ("id", "text", "at", "user")
    job = plan(keep=["id", "id"], timing=Timing(field="user.seen", window=30, lateness=1.5))
    assert job.output.file.enrichment.keep == ("id",)
    assert job.source.records.names == ["id", "text", "user"]
    assert job.output.windows == Windows(30_000_000, 1_500_000, "user.seen")
    assert isinstance(job.output.file.model, Fixed)


def test_latest_may_be_followed(plan, model, tmp_path):
    store = ModelStore.open(str(tmp_path / "store/tiny"))
    store.publish(model)
    file = plan(model=f"{store.uri}@latest", follow=5).output.file
    assert file.model == Followed(f"{store.uri}@latest", 5, file.enrichment)
    for pinned in (str(model), f"{store.uri}@1"):
        with pytest.raises(
            ConfigurationError, match=r"always means the same model: name a store, as in .*@latest"
        ):
            plan(model=pinned, follow=5)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        (
            {"source": StreamInput("kinesis:x")},
            ConfigurationError,
            "--input kinesis:x: write files:GLOB, kafka:TOPIC or pubsub:",
        ),
        ({"output": "/tmp/out"}, ConfigurationError, "cannot use --output /tmp/out: write parquet:URI"),
        ({"output": "parquet:"}, ConfigurationError, "write parquet:URI, kafka:TOPIC or pubsub:"),
        ({"output": "kafka:a"}, ConfigurationError, "needs --dead-letters kafka:ANOTHER_TOPIC or files:URI"),
        (
            {"output": "kafka:a", "dead_letters": "pubsub:b"},
            ConfigurationError,
            "--output kafka:a needs --dead-letters kafka:ANOTHER_TOPIC or files:URI",
        ),
        ({"output": "kafka:a", "dead_letters": "kafka:a"}, ConfigurationError, "is the output: name another"),
        (
            {"output": "kafka:a", "dead_letters": "kafka:b"},
            ConfigurationError,
            "kafka:a needs --brokers HOST:PORT",
        ),
        ({"dead_letters": "files:/tmp/x"}, ConfigurationError, "--dead-letters is for topics"),
        ({"key": "id"}, ConfigurationError, "--key is for the single records of a Kafka topic"),
        ({"text": "nope"}, TemplateError, "no record has the field 'nope'"),
        ({"timing": Timing(field="when")}, TemplateError, "no record has the field 'when'"),
        (
            {"source": StreamInput("kafka:events")},
            ConfigurationError,
            "kafka:events needs --brokers HOST:PORT",
        ),
        (
            {"source": StreamInput("kafka:events", "csv", "127.0.0.1:1")},
            ConfigurationError,
            "--input-format csv is not for topics: use jsonl or text",
        ),
        (
            {"source": StreamInput("pubsub:events")},
            ConfigurationError,
            "--input pubsub:events: write files:GLOB, kafka:TOPIC or pubsub:projects/PROJECT/",
        ),
        (
            {"source": StreamInput(SUBSCRIPTION)},
            ConfigurationError,
            "are not known: name a file of examples with --sample",
        ),
        (
            {"source": StreamInput(SUBSCRIPTION, sample="/nowhere")},
            ConfigurationError,
            "cannot read --sample /nowhere: No such file",
        ),
        (
            {"source": StreamInput(SUBSCRIPTION, "text", attributes=("text",))},
            ConfigurationError,
            "'text' is a field and an attribute",
        ),
        (
            {"source": StreamInput(SUBSCRIPTION, "text"), "timing": Timing(ends=True)},
            ConfigurationError,
            "Pub/Sub has no end: leave --stop-at-end out",
        ),
        (
            {
                "source": StreamInput(SUBSCRIPTION, "text", time_attribute="at"),
                "timing": Timing(field="text"),
            },
            ConfigurationError,
            "--event-time and --time-attribute are two times: name one",
        ),
        (
            {"source": StreamInput("files:/tmp", id_attribute="id")},
            ConfigurationError,
            "attributes are Pub/Sub's: leave their options out",
        ),
        (
            {"output": "pubsub:vectors", "dead_letters": "files:/tmp/x"},
            ConfigurationError,
            "cannot publish to vectors: write projects/PROJECT/topics/TOPIC",
        ),
        ({"timing": Timing(window=0.5)}, ConfigurationError, "a window of 0.5 s: give whole seconds"),
        ({"source": StreamInput("files:/nowhere/*.jsonl")}, InputError, "no input files"),
    ],
)
def test_what_cannot_be_is_said_at_once(changes, error, says, plan):
    with pytest.raises(error, match=says):
        plan(**changes)


def test_columns_of_pubsub_come_from_a_sample_and_from_attributes(plan, tmp_path):
    (tmp_path / "sample.jsonl").write_text(
        '{"id": 1, "text": "paid", "user": {"name": "ana"}}\n{"at": 2.5}\n'
    )
    sample = str(tmp_path / "sample.jsonl")
    source = StreamInput(SUBSCRIPTION, sample=sample, attributes=("region",), id_attribute="event")
    job = plan(source=source, text="{user.name} in {region}")
    assert job.source.records.names == ["id", "text", "user", "at", "region"]
    assert job.output.file.enrichment.keep == ("id", "text", "user", "at", "region")
    assert (job.source.place, job.source.id_attribute) == (SUBSCRIPTION, "event")
    assert plan(source=source, text="region", keep=["id"]).source.records.names == ["id", "region"]


def test_the_output_is_not_among_the_inputs(plan, tmp_path):
    with pytest.raises(OutputConflict, match="name another folder"):
        plan(output=f"parquet:{tmp_path / 'in/out'}")


def test_a_folder_belongs_to_one_stream(plan, tiny_model, tmp_path):
    claim_stream(plan())
    claim_stream(plan(model=str(tiny_model(tmp_path / "other", seed=8))))
    for option, changes in (
        ("text", {"text": "{id}"}),
        ("shards", {"shards": 2}),
        ("keep", {"keep": []}),
        ("vectors dtype", {"dtype": "int8"}),
        ("window", {"timing": Timing(window=9)}),
    ):
        with pytest.raises(OutputConflict, match=rf"the output of another stream \({option}: "):
            claim_stream(plan(**changes))


def test_a_stream_that_the_older_began_goes_on(plan, tmp_path):
    marker = (
        b'{"source":"files:%s","text":"text","keep":["id","text","at","user"],'
        b'"vectors":{"layout":"list","dtype":"float32"},"heads":null,"window":60000000,"event_time":"at",'
        b'"shards":2}' % bytes(tmp_path / "in")
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out/_stream.json").write_bytes(marker)
    (tmp_path / "out/window-20261130T100000Z-60s-00000.parquet").touch()
    claim_stream(plan(shards=2, timing=Timing(field="at")))
    assert (tmp_path / "out/_stream.json").read_bytes() == marker
    with pytest.raises(OutputConflict, match=r"\(shards: 2, not 1\)"):
        claim_stream(plan(timing=Timing(field="at")))


@pytest.mark.parametrize("claimed", [False, True])
def test_foreign_files_are_refused(plan, claimed, tmp_path):
    if claimed:
        claim_stream(plan())
    (tmp_path / "out").mkdir(exist_ok=True)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "out/sales.parquet")
    with pytest.raises(OutputConflict, match=r"sales\.parquet, which no stream wrote"):
        claim_stream(plan())
