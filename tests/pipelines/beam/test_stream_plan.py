import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encoder.errors import ConfigurationError, InputError, OutputConflict, TemplateError
from encoder.store.store import ModelStore
from pipelines.beam.models import Fixed, Followed
from pipelines.beam.stream_inputs import StreamInput, Timing
from pipelines.beam.stream_plan import claim_stream, plan_stream


@pytest.fixture
def plan(tmp_path, model):
    (tmp_path / "in").mkdir()
    record = {"id": 1, "text": "paid", "at": 5, "user": {"name": "ana", "seen": 7}}
    (tmp_path / "in/a.jsonl").write_text(json.dumps(record) + "\n")

    def make(**changes):
        own = {"model": str(model), "source": StreamInput(f"files:{tmp_path / 'in'}"), "text": "text"}
        return plan_stream(**{**own, "output": f"parquet:{tmp_path / 'out'}", **changes})

    return make


def test_a_plan_keeps_all_columns_unless_some_are_named(plan):
    assert plan().file.enrichment.keep == ("id", "text", "at", "user")
    job = plan(keep=["id", "id"], timing=Timing(field="user.seen", window=30, lateness=1.5))
    assert job.file.enrichment.keep == ("id",)
    assert job.source.records.names == ["id", "text", "user"]
    assert (job.windows.size, job.windows.lateness, job.windows.field) == (30_000_000, 1_500_000, "user.seen")
    assert isinstance(job.file.model, Fixed)


def test_latest_may_be_followed(plan, model, tmp_path):
    store = ModelStore.open(str(tmp_path / "store/tiny"))
    store.publish(model)
    file = plan(model=f"{store.uri}@latest", follow=5).file
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
            "--input kinesis:x: write files:GLOB or kafka:",
        ),
        ({"output": "/tmp/out"}, ConfigurationError, "cannot use --output /tmp/out: write parquet:URI"),
        ({"output": "parquet:"}, ConfigurationError, "write parquet:URI"),
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
            "--format csv is not for topics: use jsonl or text",
        ),
        ({"timing": Timing(window=0.5)}, ConfigurationError, "a window of 0.5 s: give whole seconds"),
        ({"source": StreamInput("files:/nowhere/*.jsonl")}, InputError, "no input files"),
    ],
)
def test_what_cannot_be_is_said_at_once(changes, error, says, plan):
    with pytest.raises(error, match=says):
        plan(**changes)


def test_the_output_is_not_among_the_inputs(plan, tmp_path):
    with pytest.raises(OutputConflict, match="name another folder"):
        plan(output=f"parquet:{tmp_path / 'in/out'}")


def test_a_folder_belongs_to_one_stream(plan, tiny_model, tmp_path):
    claim_stream(plan())
    claim_stream(plan(model=str(tiny_model(tmp_path / "other", seed=8))))
    for changes in (
        {"text": "{id}"},
        {"shards": 2},
        {"keep": []},
        {"dtype": "int8"},
        {"timing": Timing(window=9)},
    ):
        with pytest.raises(OutputConflict, match="the output of a stream with another"):
            claim_stream(plan(**changes))


@pytest.mark.parametrize("claimed", [False, True])
def test_foreign_files_are_refused(plan, claimed, tmp_path):
    if claimed:
        claim_stream(plan())
    (tmp_path / "out").mkdir(exist_ok=True)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "out/sales.parquet")
    with pytest.raises(OutputConflict, match=r"sales\.parquet, which no stream wrote"):
        claim_stream(plan())
