import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pytest

from encoder.errors import OutputConflict
from encoder.store.objects import open_objects
from pipelines.enrich.columns import VectorFormat
from pipelines.sinks.output_claim import MARKERS, OutputClaim, claim, claimed_schema

DIM = 256
SCHEMA = pa.schema({"id": pa.int64(), "text": pa.string()})

OLDER = (
    b'{"inputs":["payments","^logs-.*"],"text":"{id} {text}","fields":["id: int64","text: string"],'
    b'"arrow_schema":"/////6gAAAAQAAAAAAAKAAwABgAFAAgACgAAAAABBAAMAAAACAAIAAAABAAIAAAABAAAAAIAAABEAAAABAAAA'
    b"NT///8AAAEFEAAAABwAAAAEAAAAAAAAAAQAAAB0ZXh0AAAAAAQABAAEAAAAEAAUAAgABgAHAAwAAAAQABAAAAAAAAECEAAAABwAAAAEA"
    b'AAAAAAAAAIAAABpZAAACAAMAAgABwAIAAAAAAAAAUAAAAA="}'
)
"""The marker of a worker's folder, byte for byte as workers wrote it before they compared options."""


@dataclass(frozen=True)
class Settings:
    inputs: tuple[str, ...] = ("payments", "^logs-.*")
    text: str = "{id} {text}"
    vectors: VectorFormat = field(default_factory=VectorFormat)
    heads: tuple[str, ...] | None = None
    delete_columns: bool = False
    mask_fields: tuple[str, ...] = ()
    fields: tuple[str, ...] | None = None
    partitions: tuple = ()
    types: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def folder(tmp_path):
    return open_objects(str(tmp_path / "out"))


def job(**options):
    return OutputClaim("backfill", {"text": "id", **options}, files=re.compile(r"part-\d\.parquet"))


def test_the_first_claim_writes_the_marker_and_the_next_reads_it(folder):
    assert job(keep=("id",)).check(folder) is None
    assert job(keep=("id",)).take(folder) == {"text": "id", "keep": ["id"]}
    written = folder.stat("_job.json")
    folder.create("part-1.parquet", b"")
    assert job(keep=["id"]).take(folder) == {"text": "id", "keep": ["id"]}
    assert folder.stat("_job.json") == written


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"text": "no"}, r"the output of another backfill \(text: id, not no\): name another folder"),
        ({"keep": None}, r"\(keep: \['id'\], not None\)"),
        ({"vectors": VectorFormat("list", "int8")}, r"\(vectors dtype: float32, not int8\)"),
        ({"inputs": [f"/data/{i}" for i in range(40)]}, r"\(with other inputs\): name another folder"),
    ],
)
def test_another_option_is_refused_and_named(folder, options, says):
    own = {"keep": ["id"], "vectors": VectorFormat(), "inputs": []}
    job(**own).take(folder)
    with pytest.raises(OutputConflict, match=says):
        job(**{**own, **options}).take(folder)


def test_an_option_that_the_marker_does_not_know_is_not_compared(folder):
    job().take(folder)
    assert job(added_later=5).take(folder) == {"text": "id"}


@pytest.mark.parametrize("claimed", [False, True])
def test_parquet_of_somebody_else_is_refused(folder, claimed):
    if claimed:
        job().take(folder)
    folder.create("sales.parquet", b"")
    with pytest.raises(OutputConflict, match=r"holds sales\.parquet, which no backfill wrote: name another"):
        job().take(folder)
    assert (folder.stat("_job.json") is not None) == claimed


@pytest.mark.parametrize("other", MARKERS)
def test_a_new_job_is_refused_a_folder_of_another_kind(folder, other):
    OutputClaim(other, {}).take(folder)
    for writer in set(MARKERS) - {other}:
        with pytest.raises(OutputConflict, match=f"holds the output of a {other}: name another folder"):
            OutputClaim(writer, {}).take(folder)


def test_a_folder_that_two_kinds_claimed_in_the_older_stays_theirs(folder):
    folder.create("_job.json", b'{"text":"id"}')
    folder.create("_worker.json", OLDER)
    assert job().take(folder)
    assert claim(folder, Settings(), SCHEMA, DIM) == SCHEMA


def test_a_damaged_marker_is_refused(folder):
    folder.create("_job.json", b"{")
    with pytest.raises(OutputConflict, match=r"holds a damaged _job\.json"):
        job().take(folder)


def test_of_jobs_that_start_together_one_owns_the_folder(folder):
    def take(number):
        try:
            return job(number=number).take(folder)["number"]
        except OutputConflict:
            return None

    with ThreadPoolExecutor(8) as threads:
        owners = [number for number in threads.map(take, range(32)) if number is not None]
    assert owners == [json.loads(folder.read("_job.json"))["number"]]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"inputs": ("payments",)},
        {"inputs": ("logs-7", "more")},
        {"inputs": ("^pay",)},
        {"text": "{text}"},
        {"vectors": VectorFormat("binary", "int8"), "heads": ("fraud",)},
        {"fields": ("text",), "types": {"text": "string", "new": "int8"}},
    ],
)
def test_a_worker_keeps_its_folder_after_an_upgrade(folder, changes):
    folder.create("_worker.json", OLDER)
    settings = replace(Settings(), **changes)
    assert claimed_schema(folder, settings, DIM) == SCHEMA
    assert claim(folder, settings, pa.schema({"other": pa.int8()}), DIM) == SCHEMA
    assert folder.read("_worker.json") == OLDER


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"inputs": ("sales",)},
            r"another worker \(inputs: payments, \^logs-\.\*, not sales\): name",
        ),
        ({"fields": ("id", "at")}, r"\(fields: id, text, not one named 'at'\)"),
        ({"types": {"id": "int32"}}, r"\(type of 'id': int64, not int32\)"),
    ],
)
def test_a_worker_with_other_topics_or_columns_is_refused(folder, older, changes, says):
    if older:
        folder.create("_worker.json", OLDER)
    else:
        claim(folder, Settings(), SCHEMA, DIM)
    with pytest.raises(OutputConflict, match=says):
        claimed_schema(folder, replace(Settings(), **changes), DIM)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"text": "{text}"}, r"template: \{id\} \{text\}, not \{text\}"),
        ({"vectors": VectorFormat("binary")}, "vectors layout: list, not binary"),
        ({"heads": ("fraud",)}, "heads: None, not"),
    ],
)
def test_workers_of_one_folder_agree_on_text_vectors_and_heads(folder, changes, says):
    claim(folder, Settings(), SCHEMA, DIM)
    with pytest.raises(OutputConflict, match=says):
        claimed_schema(folder, replace(Settings(), **changes), DIM)


def test_vectors_of_another_length_need_another_folder(folder):
    claim(folder, Settings(), SCHEMA, DIM)
    with pytest.raises(OutputConflict, match=r"\(dimensions: 256, not 128\): name another folder"):
        claimed_schema(folder, Settings(), 128)


def test_a_look_at_a_folder_writes_nothing(folder, tmp_path):
    assert claimed_schema(folder, Settings(), DIM) is None
    assert not list(Path(tmp_path).iterdir())
