import errno
import io
import os
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parquet_parts import write_batch

from encoder.errors import NotInStore
from encoder.store.objects import open_objects
from pipelines.sinks import parquet
from pipelines.sinks.parquet import ParquetParts, PartExists

BATCH = pa.record_batch(
    {
        "id": range(1000),
        "kind": ["a", "b"] * 500,
        "user": [{"name": f"n{i % 3}", "tags": [{"k": "x"}]} for i in range(1000)],
        "map": pa.array([[("k", "v")]] * 1000, pa.map_(pa.string(), pa.string())),
        "embedding": pa.FixedSizeListArray.from_arrays(
            pa.array(np.random.default_rng(1).random(8000, np.float32)), 8
        ),
    }
)


@pytest.fixture(params=["folder", "memory"])
def parts(request, tmp_path):
    uri = str(tmp_path / "my out") if request.param == "folder" else f"memory://parts/{uuid.uuid4().hex}"
    return ParquetParts(uri)


def content(parts, name):
    return pq.read_table(io.BytesIO(open_objects(parts.uri).read(name)))


def test_a_part_holds_the_batch_and_its_metadata(parts):
    write_batch(parts, "p.parquet", BATCH, {"a": "1", "ü": "é"})
    assert content(parts, "p.parquet").to_batches() == [BATCH]
    assert parts.names() == ["p.parquet"]
    metadata = parts.metadata("p.parquet")
    assert {key: metadata[key] for key in ("a", "ü", "rows")} == {"a": "1", "ü": "é", "rows": "1000"}


def test_a_repetition_replaces_a_part_by_the_same_bytes(parts):
    written = []
    for _ in range(2):
        write_batch(parts, "p.parquet", BATCH, {"a": "1"})
        written.append(open_objects(parts.uri).read("p.parquet"))
    assert written[0] == written[1]


def test_a_new_part_does_not_replace_one_that_is_there(parts, monkeypatch):
    batch = pa.record_batch({"id": [1]})

    def refuse(*_):
        raise OSError(errno.EPERM, "no hard links here")

    for name, link in (("a.parquet", os.link), ("b.parquet", refuse)):  # as on some network file systems
        monkeypatch.setattr(os, "link", link)
        with parts.new(name, batch.schema, replace=False) as part:
            part.write(batch)
        with pytest.raises(PartExists), parts.new(name, batch.schema, replace=False) as part:
            part.write(pa.record_batch({"id": [2]}))
        assert parts.metadata(name)["rows"] == "1"
    assert parts.names() == ["a.parquet", "b.parquet"]


def test_an_empty_part_has_its_schema(parts):
    write_batch(parts, "p.parquet", BATCH.slice(0, 0), {})
    assert content(parts, "p.parquet").schema.names == BATCH.schema.names
    assert parts.metadata("p.parquet")["rows"] == "0"


def test_the_footer_alone_tells_the_metadata_however_long(parts, monkeypatch):
    monkeypatch.setattr(parquet, "_FOOTER", 100)
    write_batch(parts, "p.parquet", BATCH, {"long": "x" * 5000})
    asked = []
    objects = parts._objects
    read_end = objects.read_end
    monkeypatch.setattr(objects, "read_end", lambda key, n: asked.append(n) or read_end(key, n))
    monkeypatch.delattr(type(objects), "read")
    assert parts.metadata("p.parquet")["long"] == "x" * 5000
    assert asked[0] == 100
    assert len(asked) == 2


def test_vectors_are_plain_and_everything_else_is_packed(parts):
    write_batch(parts, "p.parquet", BATCH, {})
    group = pq.read_metadata(io.BytesIO(open_objects(parts.uri).read("p.parquet"))).row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    assert len(columns) == 7
    for column in columns:
        vector = column.path_in_schema.startswith("embedding")
        assert column.compression == ("UNCOMPRESSED" if vector else "ZSTD"), column.path_in_schema
        assert column.has_dictionary_page != vector, column.path_in_schema
        assert column.is_stats_set != vector, column.path_in_schema


def test_missing_parts_are_errors_and_no_names(parts):
    assert parts.names() == []
    with pytest.raises(NotInStore):
        parts.metadata("p.parquet")


def test_other_files_are_no_parts(parts):
    objects = open_objects(parts.uri)
    for key in ("_job.json", "dead_letters/_p.jsonl", "deep/x.parquet", "notes.txt"):
        objects.overwrite(key, b"x")
    write_batch(parts, "p.parquet", BATCH, {})
    assert parts.names() == ["p.parquet"]


def test_a_part_has_no_name_until_it_is_whole(tmp_path):
    parts = ParquetParts(str(tmp_path))
    with parts.new("p.parquet", BATCH.schema) as part:
        for first in range(0, 1000, 300):
            part.write(BATCH.slice(first, 300))
            assert parts.names() == []
            assert [path.name for path in tmp_path.iterdir()] == ["_staging"]
    assert parts.names() == ["p.parquet"]
    file = pq.ParquetFile(tmp_path / "p.parquet")
    assert file.num_row_groups == 4
    assert file.read().equals(pa.Table.from_batches([BATCH]))


def test_a_failed_write_leaves_nothing(parts):
    def fill(name):
        with parts.new(name, BATCH.schema) as part:
            part.write(BATCH)
            raise OSError(28, "No space left on device")

    write_batch(parts, "old.parquet", BATCH, {"a": "1"})
    for name in ("old.parquet", "new.parquet"):
        with pytest.raises(OSError, match="No space"):
            fill(name)
    assert parts.names() == ["old.parquet"]
    assert parts.metadata("old.parquet")["a"] == "1"
    assert open_objects(parts.uri).scan("_staging") == []


def test_what_killed_processes_left_is_not_read_and_is_swept(tmp_path):
    parts = ParquetParts(str(tmp_path))
    parts.sweep()
    write_batch(parts, "p.parquet", BATCH, {})
    (tmp_path / "_staging").mkdir(exist_ok=True)
    (tmp_path / "_staging/q.parquet.0123").write_bytes(b"PAR1 half")
    (tmp_path / "_staging/q.parquet").write_bytes(b"PAR1 half")
    assert parts.names() == ["p.parquet"]
    assert pq.read_table(tmp_path).num_rows == 1000
    parts.sweep()
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def test_a_part_that_another_run_wrote_and_swept_is_there(tmp_path):
    parts, other = ParquetParts(str(tmp_path)), ParquetParts(str(tmp_path))
    with parts.new("p.parquet", BATCH.schema) as part:
        part.write(BATCH)
        write_batch(other, "p.parquet", BATCH, {})
        other.sweep()
    assert parts.names() == ["p.parquet"]
    assert pq.read_table(tmp_path).num_rows == 1000


def test_a_part_that_is_swept_and_not_there_is_an_error(tmp_path):
    parts = ParquetParts(str(tmp_path))

    def lose():
        with parts.new("p.parquet", BATCH.schema) as part:
            part.write(BATCH)
            parts.sweep()

    with pytest.raises(FileNotFoundError):
        lose()
