import uuid
from dataclasses import asdict, replace

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parquet_parts import write_batch

from encoder.errors import OutputConflict
from encoder.store.objects import open_objects
from pipelines.beam.backfill.job import (
    SUMMARY_FILE,
    BackfillJob,
    Counts,
    claim_output,
    part_metadata,
    part_name,
)
from pipelines.enrich.columns import VectorFormat
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.template import TextTemplate
from pipelines.sinks.parquet import ParquetParts
from pipelines.sources.files.discovery import InputFile

BATCH = pa.record_batch({"id": [1, 2, 3]})
counts = st.builds(Counts, *[st.integers(0, 1 << 40)] * 5)


@pytest.fixture(params=["folder", "memory"])
def job(request, tmp_path):
    output = (tmp_path / "out").as_uri() if request.param == "folder" else f"memory://jobs/{uuid.uuid4().hex}"
    return BackfillJob(
        model=ModelVersion("s3://bucket/minilm@7", "minilm", 7, "sha256:00", 16),
        inputs=(InputFile("/data/a.jsonl", 10, "jsonl", None),),
        schema=pa.schema({"id": pa.int64(), "text": pa.string()}),
        enrichment=Enrichment(TextTemplate.parse("text")),
        output=output,
    )


# Byte for byte what earlier versions wrote for the job below.
OLDER = (
    b'{"model":{"name":"minilm","version":7,"digest":"sha256:00"},'
    b'"inputs":[{"path":"/data/a.jsonl","size":10}],"records":["id: int64","text: string"],'
    b'"text":"text","keep":["id"],"vectors":{"layout":"binary","dtype":"int8"},"heads":["fraud"],'
    b'"chunk_rows":65536,"split_bytes":33554432}'
)


def write_part(job, k=0, damaged=(), left_out=None):
    write_batch(
        ParquetParts(job.output),
        part_name(0, 0, k),
        BATCH,
        part_metadata(job, Counts(5, 3, 2, 99, 1, damaged, left_out or {})),
    )


@given(counts, counts)
def test_counts_add_up_number_by_number(a, b):
    numbers = [replace(one, damaged=(), left_out={}) for one in (a, b)]
    *total, damaged, left_out = asdict(a + b).values()
    assert total == [x + y for x, y in zip(*([*asdict(one).values()][:-2] for one in numbers), strict=True)]
    assert (damaged, left_out) == ((), {})
    assert (replace(a, left_out={"x": 1}) + replace(b, left_out={"x": 2, "y": 3})).left_out == {
        "x": 3,
        "y": 3,
    }
    one, other = replace(a, damaged=(("b", "cut"),)), replace(b, damaged=(("a", "gone"),))
    assert (one + other).damaged == (other + one).damaged == (("a", "gone"), ("b", "cut"))
    assert sum([a, b], Counts()) == b + a


def test_a_part_tells_its_counts(job):
    for damaged in ((), (("/data/a.gz", "cut"), ("/data/b.gz", "gone"))):
        write_part(job, damaged=damaged, left_out={"x": 4})
        found = Counts.of_part(ParquetParts(job.output).metadata(part_name(0, 0, 0)))
        assert found == Counts(5, 3, 2, 99, 1, damaged, {"x": 4})


def test_names_of_parts_sort_as_their_input():
    places = [(0, 0, 0), (0, 0, 1), (0, 33 << 20, 0), (1, 0, 0), (2, 9 << 30, 11)]
    names = [part_name(*place) for place in places]
    assert names == sorted(names)
    assert names[-1] == "part-00002-009663676416-00011.parquet"


def test_a_new_output_is_claimed_once_and_may_be_claimed_again(job):
    assert claim_output(job) is None
    described = open_objects(job.output).read("_job.json")
    assert msgspec.json.decode(described)["model"] == {"name": "minilm", "version": 7, "digest": "sha256:00"}
    write_part(job)
    assert claim_output(job) is None
    assert open_objects(job.output).read("_job.json") == described


def test_a_job_that_the_older_began_goes_on(job):
    enrichment = replace(
        job.enrichment, keep=("id",), heads=("fraud",), vectors=VectorFormat("binary", "int8")
    )
    job = replace(job, enrichment=enrichment)
    open_objects(job.output).create("_job.json", OLDER)
    write_part(job)
    assert claim_output(job) is None
    assert open_objects(job.output).read("_job.json") == OLDER
    with pytest.raises(OutputConflict, match=r"\(chunk_rows: 65536, not 7\)"):
        claim_output(replace(job, chunk_rows=7))


def test_a_finished_output_tells_its_summary_while_all_parts_are_there(job):
    claim_output(job)
    for k in range(2):
        write_part(job, k)
    summary = {**asdict(Counts(10, 6, 4, 198, 2)), "model": "minilm@7"}
    open_objects(job.output).overwrite(SUMMARY_FILE, msgspec.json.encode(summary))
    assert claim_output(job) == Counts(10, 6, 4, 198, 2)
    del summary["damaged"]  # as earlier versions wrote it
    open_objects(job.output).overwrite(SUMMARY_FILE, msgspec.json.encode(summary))
    assert claim_output(job) == Counts(10, 6, 4, 198, 2)
    open_objects(job.output).delete(part_name(0, 0, 1))
    assert claim_output(job) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda job: {"model": replace(job.model, version=8)}, "model version: 7, not 8"),
        (
            lambda job: {"enrichment": replace(job.enrichment, template=TextTemplate.parse("id"))},
            "text: text, not id",
        ),
        (
            lambda job: {"enrichment": replace(job.enrichment, vectors=VectorFormat("binary"))},
            "vectors layout: list, not binary",
        ),
        (lambda job: {"enrichment": replace(job.enrichment, keep=("id",))}, "keep"),
        (lambda job: {"inputs": (replace(job.inputs[0], size=11),)}, "inputs"),
        (lambda job: {"schema": job.schema.remove(0)}, "records"),
        (lambda _: {"chunk_rows": 7}, "chunk_rows"),
    ],
)
def test_another_job_is_refused(job, change, says):
    claim_output(job)
    with pytest.raises(OutputConflict, match=f"output of another backfill .*{says}.*: name another folder"):
        claim_output(replace(job, **change(job)))


def test_the_same_version_from_another_place_is_the_same_job(job):
    claim_output(job)
    assert claim_output(replace(job, model=replace(job.model, ref="gs://copy/minilm@7"))) is None


@pytest.mark.parametrize("claimed", [False, True])
def test_parquet_that_no_backfill_wrote_is_refused(job, claimed):
    if claimed:
        claim_output(job)
    write_batch(ParquetParts(job.output), "sales.parquet", BATCH, {})
    with pytest.raises(OutputConflict, match=r"sales\.parquet, which no backfill wrote: name another folder"):
        claim_output(job)
    assert (open_objects(job.output).stat("_job.json") is not None) == claimed


def test_parts_without_a_job_are_refused(job):
    write_part(job)
    with pytest.raises(OutputConflict, match="no backfill wrote"):
        claim_output(job)
