import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encoder.errors import ConfigurationError, InputError, OutputConflict, TemplateError
from encoder.store.store import ModelStore
from pipelines.beam.streaming.batch import Windows
from pipelines.beam.streaming.model import LatestModel, PinnedModel
from pipelines.beam.streaming.plan import claim_stream, plan_stream
from pipelines.beam.streaming.sink_options import SinkOptions
from pipelines.beam.streaming.source_options import SourceOptions, Timing
from pipelines.enrich.enrichment import Enrichment

SUBSCRIPTION = "pubsub:projects/acme/subscriptions/events"


@pytest.fixture
def plan(tmp_path, model):
    (tmp_path / "in").mkdir()
    record = {"id": 1, "text": "paid", "at": 5, "user": {"name": "ana", "seen": 7}}
    (tmp_path / "in/a.jsonl").write_text(json.dumps(record) + "\n")

    def make(**changes):
        def taken(**defaults):
            return {name: changes.pop(name, value) for name, value in defaults.items()}

        output = taken(output=f"parquet:{tmp_path / 'out'}", shards=1, dead_letters=None, key=None)
        sink = SinkOptions(output.pop("output"), **output)
        enrichment = Enrichment.parse(**taken(text="text", keep=None, dtype="float32"))
        own = {"model": str(model), "source": SourceOptions(f"files:{tmp_path / 'in'}")}
        return plan_stream(**{**own, "sink": sink, "enrichment": enrichment, **changes})

    return make


def test_a_plan_keeps_all_columns_unless_some_are_named(plan):
    assert plan().sink.file.enrichment.keep == ("id", "text", "at", "user")
    job = plan(keep=["id", "id"], timing=Timing(field="user.seen", window=30, lateness=1.5))
    assert job.sink.file.enrichment.keep == ("id",)
    assert job.source.schema.names == ["id", "text", "user"]
    assert job.sink.windows == Windows(30_000_000, 1_500_000, "user.seen")
    assert isinstance(job.sink.file.model, PinnedModel)


def test_latest_may_be_followed(plan, model, tmp_path):
    store = ModelStore.open(str(tmp_path / "store/tiny"))
    store.publish(model)
    file = plan(model=f"{store.uri}@latest", follow=5).sink.file
    assert file.model == LatestModel(f"{store.uri}@latest", 5, file.enrichment)
    for pinned in (str(model), f"{store.uri}@1"):
        with pytest.raises(
            ConfigurationError, match=r"never changes: to follow a model, name a store, such as .*@latest"
        ):
            plan(model=pinned, follow=5)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        (
            {"source": SourceOptions("kinesis:x")},
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
        ({"key": "id"}, ConfigurationError, "--key is for Kafka messages of one record each"),
        ({"text": "nope"}, TemplateError, "no record has the field 'nope'"),
        ({"timing": Timing(field="when")}, TemplateError, "no record has the field 'when'"),
        ({"timing": Timing(field="user")}, InputError, "event times cannot be struct"),
        (
            {"source": SourceOptions("kafka:events")},
            ConfigurationError,
            "kafka:events needs --brokers HOST:PORT",
        ),
        (
            {"source": SourceOptions("kafka:events", "csv", "127.0.0.1:1")},
            ConfigurationError,
            "--input-format csv is not for topics: use jsonl, text or arrow",
        ),
        (
            {"source": SourceOptions("pubsub:events")},
            ConfigurationError,
            "--input pubsub:events: write files:GLOB, kafka:TOPIC or pubsub:projects/PROJECT/",
        ),
        (
            {"source": SourceOptions(SUBSCRIPTION)},
            ConfigurationError,
            "are unknown: name a file of example records with --sample",
        ),
        (
            {"source": SourceOptions(SUBSCRIPTION, sample="/nowhere")},
            ConfigurationError,
            "cannot read --sample /nowhere: No such file",
        ),
        (
            {"source": SourceOptions(SUBSCRIPTION, "text", attributes=("text",))},
            ConfigurationError,
            "'text' is both a field and an attribute",
        ),
        (
            {"source": SourceOptions(SUBSCRIPTION, "text"), "timing": Timing(ends=True)},
            ConfigurationError,
            "a Pub/Sub subscription never ends: leave --stop-at-end out",
        ),
        (
            {
                "source": SourceOptions(SUBSCRIPTION, "text", time_attribute="at"),
                "timing": Timing(field="text"),
            },
            ConfigurationError,
            "--event-time and --time-attribute both name the event time: use one",
        ),
        (
            {"source": SourceOptions("files:/tmp", id_attribute="id")},
            ConfigurationError,
            "only Pub/Sub has attributes: leave --attributes, ",
        ),
        (
            {"output": "pubsub:vectors", "dead_letters": "files:/tmp/x"},
            ConfigurationError,
            "cannot publish to vectors: write projects/PROJECT/topics/TOPIC",
        ),
        ({"timing": Timing(window=0.5)}, ConfigurationError, "a window of 0.5 s: use whole seconds"),
        ({"source": SourceOptions("files:/nowhere/*.jsonl")}, InputError, "no input files"),
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
    source = SourceOptions(SUBSCRIPTION, sample=sample, attributes=("region",), id_attribute="event")
    job = plan(source=source, text="{user.name} in {region}")
    assert job.source.schema.names == ["id", "text", "user", "at", "region"]
    assert job.sink.file.enrichment.keep == ("id", "text", "user", "at", "region")
    assert (job.source.uri, job.source.id_attribute) == (SUBSCRIPTION, "event")
    assert plan(source=source, text="region", keep=["id"]).source.schema.names == ["id", "region"]


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
    with pytest.raises(OutputConflict, match=r"\(dimensions: 16, not 8\)"):
        claim_stream(plan(model=str(tiny_model(tmp_path / "short", dim=8))))


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
