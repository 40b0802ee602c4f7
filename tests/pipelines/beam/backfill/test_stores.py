"""Models from stores, inputs from buckets, outputs in buckets."""

import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from amounts import amount

from encoder.store.objects import open_objects
from encoder.store.store import ModelStore
from pipelines.sinks.dead_letters import FOLDER

N = 1000
LINES = b"".join(b'{"id": %d, "text": "login failed %d"}\n' % (i, i) for i in range(N)) + b"broken\n"


@pytest.fixture
def lines(tmp_path):
    (tmp_path / "in.jsonl").write_bytes(LINES)
    return tmp_path / "in.jsonl"


def read(uri):
    """The rows of an output, through the store's own port."""
    objects = open_objects(uri)
    names = [info.key for info in objects.scan("") if info.key.endswith(".parquet")]
    tables = [pq.read_table(pa.BufferReader(objects.read(name))) for name in names]
    return pa.concat_tables(tables).sort_by("id")


def check(uri, outcome, encoder, matrix):
    assert (outcome["rows"], outcome["dead_letters"]) == (N, 1)
    table = read(uri)
    assert table["id"].to_pylist() == list(range(N))
    assert np.array_equal(matrix(table), encoder.encode(table["text"]))
    assert len(open_objects(uri).scan(FOLDER)) == 1


@pytest.mark.slow
def test_versions_of_a_store(lines, tmp_path, backfill, rows, matrix, encoder, model, tiny_model):
    store = ModelStore.open((tmp_path / "models/minilm").as_uri())
    store.publish(model)
    store.publish(tiny_model(tmp_path / "next", seed=8))
    newest = backfill(lines, tmp_path / "newest", ref=f"{store.uri}@latest")
    first = backfill(lines, tmp_path / "first", ref=tmp_path / "models/minilm@1")
    assert (newest.done()["model"], first.done()["model"]) == ("minilm@2", "minilm@1")
    found = rows(tmp_path / "first")
    assert np.array_equal(matrix(found), encoder.encode(found["text"]))
    assert not np.array_equal(matrix(rows(tmp_path / "newest")), matrix(found))
    assert set(found["model_version"].to_pylist()) == {"minilm@1"}
    [part] = (tmp_path / "first").glob("*.parquet")
    metadata = pq.read_metadata(part).metadata
    assert metadata[b"millstream.model.version"] == b"1"
    assert metadata[b"millstream.model.digest"].decode() == store.manifest(1).digest


@pytest.mark.slow
def test_a_newer_version_does_not_mix_into_an_output(lines, tmp_path, backfill, model, tiny_model):
    store = ModelStore.open((tmp_path / "models/minilm").as_uri())
    store.publish(model)
    backfill(lines, tmp_path / "out", ref=store.uri).done()
    store.publish(tiny_model(tmp_path / "next", seed=8))
    assert (
        "another backfill (model version: 1, not 2)" in backfill(lines, tmp_path / "out", ref=store.uri).error
    )
    assert "already complete" in backfill(lines, tmp_path / "out", ref=f"{store.uri}@1").err


@pytest.mark.parametrize(
    ("ref", "says"), [("@3", "has no version 3: it has only 1"), ("@sha256:000000000000", "no version")]
)
def test_a_version_that_is_not_there_is_one_line(ref, says, lines, tmp_path, backfill, model):
    store = ModelStore.open((tmp_path / "models/minilm").as_uri())
    store.publish(model)
    ended = backfill(lines, tmp_path / "out", ref=f"{store.uri}{ref}")
    assert says in ended.error
    assert ended.code == 2
    assert not (tmp_path / "out").exists()


def test_an_output_in_memory(lines, backfill, encoder, matrix):
    uri = f"memory://outputs/{uuid.uuid4().hex}"
    outcome = backfill(lines, uri, "--rows-per-file", 300).done()
    check(uri, outcome, encoder, matrix)
    again = backfill(lines, uri, "--rows-per-file", 300)
    assert "already complete" in again.err
    assert {**again.done(), "seconds": 0} == {**outcome, "seconds": 0}


@pytest.mark.server
def test_model_input_and_output_in_a_bucket(s3_environment, model, processes, ended, encoder, matrix):
    root = f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}"
    manifest = ModelStore.open(f"{root}/models/minilm").publish(model)
    open_objects(f"{root}/in put").create("a b.jsonl", LINES)
    arguments = (
        *("backfill", "--model", f"{root}/models/minilm@latest", "--input", f"{root}/in put"),
        *("--output", f"{root}/out", "--rows-per-file", 300, "--json"),
    )
    outcome = ended(processes(*arguments)).done()
    assert outcome["model"] == f"minilm@{manifest.version}"
    check(f"{root}/out", outcome, encoder, matrix)
    open_objects(f"{root}/out").delete(max(info.key for info in open_objects(f"{root}/out").scan("")))
    assert {**ended(processes(*arguments)).done(), "seconds": 0} == {**outcome, "seconds": 0}
    assert "already complete" in ended(processes(*arguments)).err


@pytest.mark.server
def test_a_part_in_a_bucket_is_whole_whenever_it_can_be_seen(
    s3_environment, tmp_path, model, processes, ended, encoder, matrix
):
    n = amount(50_000, 200_000)
    (tmp_path / "in.jsonl").write_bytes(
        b"".join(b'{"id": %d, "text": "paid %d"}\n' % (i, i) for i in range(n))
    )
    output = f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}"
    arguments = ("backfill", "--model", model, "--input", tmp_path / "in.jsonl", "--output", output, "--json")
    objects, seen = open_objects(output), set()
    for _ in range(amount(2, 4)):
        process = processes(*arguments, "--rows-per-file", 5000)
        n_before = len(seen)
        while len(objects.scan("")) < n_before + 3 and process.poll() is None:
            pass  # ask the server as often as it answers
        process.kill()
        process.wait()
        for info in objects.scan(""):
            if info.key.endswith(".parquet") and info.key not in seen:
                table = pq.read_table(pa.BufferReader(objects.read(info.key)))
                assert len(table) == 5000
                assert np.array_equal(matrix(table), encoder.encode(table["text"]))
                seen.add(info.key)
    assert seen
    assert ended(processes(*arguments, "--rows-per-file", 5000)).done()["rows"] == n
    assert read(output)["id"].to_pylist() == list(range(n))


@pytest.mark.server
def test_a_bucket_that_is_not_there_is_one_line(s3_environment, lines, backfill):
    for inputs, output in (
        (lines, "s3://nobucket/out"),
        ("s3://nobucket/in", f"s3://{s3_environment.bucket}/o"),
    ):
        ended = backfill(inputs, output)
        assert "nobucket" in ended.error
