"""`millstream backfill` from end to end, in this process on Beam's FnApiRunner."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipelines.sources.files import json_sample

N = 500
SLOW = pytest.mark.slow
TEMPLATE = "{user.name} in {city}: {text}"


def text_of(i):
    return f"login failed {i} at lisbon"


def records(n=N):
    return pa.table({"id": range(n), "text": [text_of(i) for i in range(n)]})


def json_lines(table):
    return b"".join(json.dumps(row).encode() + b"\n" for row in table.to_pylist())


def csv_bytes(table):
    sink = pa.BufferOutputStream()
    pacsv.write_csv(table, sink)
    return sink.getvalue().to_pybytes()


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return sink.getvalue().to_pybytes()


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def lines(tmp_path):
    """A file of JSON lines."""
    return write(tmp_path / "in.jsonl", json_lines(records()))


@pytest.mark.parametrize(
    "kind",
    ["parquet", pytest.param("jsonl", marks=SLOW), "csv", "jsonl.gz", pytest.param("csv.zst", marks=SLOW)],
)
def test_every_record_gets_the_vector_of_its_text(kind, tmp_path, backfill, rows, matrix, encoder):
    table = records()
    if kind == "parquet":
        pq.write_table(table, path := tmp_path / "in.parquet", row_group_size=100)
    else:
        data = csv_bytes(table) if kind.startswith("csv") else json_lines(table)
        packed = {"gz": gzip.compress, "zst": zstd}.get(kind.rpartition(".")[2], bytes)
        path = write(tmp_path / f"in.{kind}", packed(data))
    outcome = backfill(path, tmp_path / "out", "--rows-per-file", 128).done()
    found = rows(tmp_path / "out", by="text")
    assert found.drop_columns(["embedding", "model_version"]).sort_by("text").to_pylist() == [
        {"id": str(row["id"]) if kind.startswith("csv") else row["id"], "text": row["text"]}
        for row in table.sort_by("text").to_pylist()
    ]
    assert np.array_equal(matrix(found), encoder.encode(found["text"]))
    assert {name: outcome[name] for name in ("records", "rows", "dead_letters", "parts")} == {
        "records": N,
        "rows": N,
        "dead_letters": 0,
        "parts": 4,
    }
    assert outcome["input_bytes"] == path.stat().st_size


@pytest.mark.slow
def test_lines_of_text_of_many_files_and_folders_in_two_threads(tmp_path, backfill, rows, matrix, encoder):
    texts = [f"login {i} zürich 東京 {chr(0x370 + 97 * i)}" for i in range(60)]  # threads meet new scripts
    for k in range(6):
        write(tmp_path / f"logs/{k}/x.log", "".join(f"{text}\n" for text in texts[k::6]).encode())
    write(tmp_path / "logs/.hidden/x.log", b"not read\n")
    assert backfill(tmp_path / "logs", tmp_path / "out", workers=2).done()["rows"] == 60
    found = rows(tmp_path / "out", by="text")
    assert sorted(found["text"].to_pylist()) == sorted(texts)
    assert np.array_equal(matrix(found), encoder.encode(found["text"]))


FORMATS = [
    ("list", "float16"),
    ("binary", "int8"),
    *(pytest.param("list", dtype, marks=SLOW) for dtype in ("float32", "int8")),
    *(pytest.param("binary", dtype, marks=SLOW) for dtype in ("float32", "float16")),
]


@pytest.mark.parametrize(("layout", "dtype"), FORMATS)
def test_vectors_are_written_as_asked(layout, dtype, lines, tmp_path, backfill, rows, matrix, encoder):
    backfill(lines, tmp_path / "out", "--vectors", layout, "--dtype", dtype).done()
    found = rows(tmp_path / "out")
    kind = found.schema.field("embedding").type
    assert pa.types.is_fixed_size_list(kind) == (layout == "list")
    vectors = matrix(found, dtype)
    assert vectors.dtype == dtype
    expected = encoder.encode(found["text"])
    if dtype == "float32":
        assert np.array_equal(vectors, expected)
    elif dtype == "float16":
        assert np.array_equal(vectors, expected.astype(np.float16))
    else:
        assert np.abs(vectors).max(axis=1).tolist() == [127] * N
        scale = np.abs(expected).max(axis=1, keepdims=True) / 127
        assert np.abs(vectors * scale - expected).max() <= 0.51 * scale.max()


@pytest.mark.slow
def test_kept_columns_come_in_their_order_and_the_template_may_use_others(
    tmp_path, backfill, rows, matrix, encoder
):
    table = pa.table(
        {
            "text": ["paid", "used"],
            "user": [{"name": "alpha", "age": 3}, {"name": None, "age": 4}],
            "city": ["lisbon", "tokyo"],
            "id": [1, 2],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    backfill(tmp_path / "in.parquet", tmp_path / "out", "--keep", "id, city,id", text=TEMPLATE).done()
    found = rows(tmp_path / "out")
    assert found.column_names == ["id", "city", "embedding", "model_version"]
    texts = ["alpha in lisbon: paid", " in tokyo: used"]
    assert np.array_equal(matrix(found), encoder.encode(texts))


def test_no_column_needs_to_be_kept(lines, tmp_path, backfill):
    backfill(lines, tmp_path / "out", "--keep", "").done()
    found = pq.read_table(tmp_path / "out")
    assert found.column_names == ["embedding", "model_version"]
    assert len(found) == N


def test_parts_say_what_made_them(lines, tmp_path, backfill, model):
    outcome = backfill(lines, tmp_path / "out", "--rows-per-file", 300, "--vectors", "binary").done()
    parts = sorted((tmp_path / "out").glob("*.parquet"))
    assert [part.name for part in parts] == [f"part-00000-{0:012d}-{k:05d}.parquet" for k in range(2)]
    metadata = [pq.read_metadata(part) for part in parts]
    assert [part.num_rows for part in metadata] == [300, 200]
    pairs = {key.decode(): value.decode() for key, value in metadata[1].metadata.items()}
    digest = pairs["millstream.model.digest"]
    assert {key: value for key, value in pairs.items() if key.startswith("millstream.")} == {
        "millstream.model.name": "tiny",
        "millstream.model.version": "",
        "millstream.model.digest": digest,
        "millstream.text": "text",
        "millstream.vectors": "binary float32 16",
        "millstream.records": "200",
        "millstream.dead_letters": "0",
        "millstream.input_bytes": pairs["millstream.input_bytes"],
    }
    assert outcome["model"] == f"{model.name}@{digest[:19]}"
    versions = pq.read_table(parts[0])["model_version"]
    assert pc.unique(versions.cast(pa.string())).to_pylist() == [outcome["model"]]
    summary = json.loads((tmp_path / "out/_summary.json").read_bytes())
    assert summary["digest"] == digest
    assert summary["rows"] == N


def test_readers_of_the_folder_find_the_rows_and_nothing_else(tmp_path, backfill):
    write(tmp_path / "in.jsonl", json_lines(records()) + b"broken\n")
    backfill(tmp_path / "in.jsonl", tmp_path / "out", "--rows-per-file", 100).done()
    names = {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".parquet"}
    assert names == {"_job.json", "_summary.json", "dead_letters"}
    for found in (pq.read_table(tmp_path / "out"), ds.dataset(tmp_path / "out").to_table()):
        assert sorted(found["id"].to_pylist()) == list(range(N))


def test_bad_rows_become_dead_letters_and_stop_nothing(tmp_path, backfill, rows, letters):
    good = b'{"id": 1, "text": "paid"}\n'
    bad = [b'{"id": 2, "text": "\xff"}', b"nope {", b"[1, 2]", b'{"id": 5, "text": null}', b'{"id": 6}']
    write(tmp_path / "in/a.jsonl", good + b"\n".join(bad) + b'\n\n{"id": 8, "text": ""}\n')
    write(tmp_path / "in/b.jsonl", b'{"id": 9, "text": "used"}\n"no object"\n')
    ended = backfill(tmp_path / "in", tmp_path / "out")
    counts = {name: ended.done()[name] for name in ("records", "rows", "dead_letters")}
    assert counts == {"records": 9, "rows": 3, "dead_letters": 6}
    assert rows(tmp_path / "out")["id"].to_pylist() == [1, 8, 9]
    found = letters(tmp_path / "out")
    a, b = (str(tmp_path / "in" / name) for name in ("a.jsonl", "b.jsonl"))
    assert [(letter["file"], letter["row"]) for letter in found] == [
        *((a, row) for row in range(2, 7)),
        (b, 2),
    ]
    assert [letter["record"] for letter in found] == [
        '{"id": 2, "text": "\\xff"}',
        "nope {",
        "[1, 2]",
        '{"id":5,"text":null}',
        '{"id":6,"text":null}',
        '"no object"',
    ]
    for letter, reason in zip(
        found,
        ["not UTF-8", "not JSON", "not an object", "null: text", "null: text", "not an object"],
        strict=True,
    ):
        assert reason in letter["reason"]


def test_a_text_of_a_parquet_file_that_is_not_utf8_is_a_dead_letter(tmp_path, backfill, rows, letters):
    offsets = pa.py_buffer(np.array([0, 4, 6, 10], np.int32))
    texts = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"paid\xff\xfeused"))
    pq.write_table(pa.table({"id": [1, 2, 3], "text": texts}), tmp_path / "in.parquet")
    assert backfill(tmp_path / "in.parquet", tmp_path / "out").done()["dead_letters"] == 1
    assert rows(tmp_path / "out")["id"].to_pylist() == [1, 3]
    [letter] = letters(tmp_path / "out")
    assert (letter["row"], json.loads(letter["record"])) == (2, {"id": 2, "text": "\\xff\\xfe"})
    assert "not UTF-8: byte 0xff" in letter["reason"]


@pytest.mark.slow
def test_the_summary_is_a_table_that_names_the_dead_letters(tmp_path, millstream, model):
    write(tmp_path / "in.jsonl", json_lines(records(1234)) + b"?\n")
    ended = millstream(
        "backfill", "--model", model, "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out"
    )
    assert ended.code == 0
    for text in ("1,235", "1,234", "dead letters       1  ", "/dead_letters/", "tiny@sha256:", "records/s"):
        assert text in ended.out
    assert ended.said == []


def test_a_finished_backfill_is_left_alone(lines, tmp_path, backfill, millstream, model):
    first = backfill(lines, tmp_path / "out", "--rows-per-file", 100)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = backfill(lines, tmp_path / "out", "--rows-per-file", 100)
    assert "is already complete" in again.err
    assert {**first.done(), "seconds": 0.0} == {**again.done(), "seconds": 0.0}
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    arguments = ("--input", lines, "--output", tmp_path / "out", "--rows-per-file", 100)
    assert "records/s" not in millstream("backfill", "--model", model, *arguments).out


@pytest.mark.slow
def test_parts_are_the_same_bytes_whatever_is_done_again(lines, tmp_path, backfill):
    for k in range(2):
        write(tmp_path / f"in/{k}.jsonl", lines.read_bytes() + b"?\n")
    one, two = tmp_path / "one", tmp_path / "two"
    backfill(tmp_path / "in", one, "--rows-per-file", 64).done()
    first = {path.name: path.read_bytes() for path in one.rglob("*part*")}
    assert len(first) == 16 + 2
    backfill(tmp_path / "in", two, "--rows-per-file", 64, workers=2).done()
    assert {path.name: path.read_bytes() for path in two.rglob("*part*")} == first
    parts = sorted(two.glob("*.parquet"))
    kept = {path: path.stat().st_mtime_ns for path in parts[:3] + parts[9:]}
    for path in parts[3:9]:
        path.unlink()
    outcome = backfill(tmp_path / "in", two, "--rows-per-file", 64, workers=2).done()
    assert {path.name: path.read_bytes() for path in two.rglob("*part*")} == first
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (outcome["records"], outcome["dead_letters"]) == (2 * N + 2, 2)


def test_an_empty_input_is_no_error(tmp_path, backfill):
    write(tmp_path / "in.csv", b"id,text\n")
    outcome = backfill(tmp_path / "in.csv", tmp_path / "out").done()
    assert (outcome["records"], outcome["rows"]) == (0, 0)
    assert pq.read_table(tmp_path / "out").num_rows == 0


# What is wrong before any work: one line, and nothing is written.


def no_output(tmp_path):
    return not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ({"text": "{nope}: {text}"}, 2, ["'nope'", "id, text"]),
        ({"text": "{text"}, 2, ["'{text'", "{{"]),
        ({"text": " "}, 2, ["empty", "column"]),
        ({"inputs": "nothing/*.jsonl"}, 1, ["nothing/*.jsonl", "name a file"]),
        ({"ref": "no/such/model"}, 1, ["no/such/model", "name a folder"]),
        ({"ref": "s3://bucket/minilm@newest"}, 2, ["@newest", "@latest"]),
        ({"ref": "ftp://host/minilm"}, 2, ["ftp://", "s3://"]),
        ({"output": "ftp://host/out"}, 2, ["ftp://", "s3://"]),
        ({"inputs": "ftp://host/in"}, 2, ["ftp://", "s3://"]),
        ({"arguments": ["--keep", "id,nope"]}, 2, ["'nope'", "id, text"]),
        ({"arguments": ["--keep", "embedding"]}, 2, ["'embedding'"]),
        ({"arguments": ["--", "--direct_num_workers=x"]}, 2, ["--direct_num_workers", "'x'"]),
    ],
)
def test_wrong_use_is_one_line_and_nothing_is_written(options, code, says, lines, tmp_path, backfill):
    options = {"inputs": lines, "output": tmp_path / "out", **options}
    arguments = options.pop("arguments", [])
    ended = backfill(options.pop("inputs"), options.pop("output"), *arguments, **options)
    assert all(text in ended.error for text in says), ended.err
    assert ended.code == code
    assert no_output(tmp_path)


def test_an_unknown_runner_is_one_line(lines, tmp_path, backfill):
    ended = backfill(lines, tmp_path / "out", "--", "--runner=Nope")
    assert "Nope" in ended.error
    assert "FlinkRunner" in ended.error
    assert ended.code == 2


def test_a_column_named_as_an_added_one_is_refused(tmp_path, backfill):
    write(tmp_path / "in.jsonl", b'{"text": "a", "embedding": 1}\n')
    ended = backfill(tmp_path / "in.jsonl", tmp_path / "out")
    assert "'embedding'" in ended.error
    assert "--keep" in ended.error
    assert ended.code == 2
    assert no_output(tmp_path)
    assert backfill(tmp_path / "in.jsonl", tmp_path / "out", "--keep", "text").done()["rows"] == 1


def test_an_output_with_other_parquet_is_refused(lines, tmp_path, backfill):
    write(tmp_path / "out/precious.parquet", b"x")
    ended = backfill(lines, tmp_path / "out")
    assert "precious.parquet" in ended.error
    assert "another folder" in ended.error
    assert ended.code == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious.parquet"]


@pytest.mark.slow
def test_an_output_of_another_backfill_is_refused(lines, tmp_path, backfill, tiny_model, monkeypatch):
    backfill(lines, tmp_path / "out").done()
    monkeypatch.chdir(tmp_path)
    tiny_model(tmp_path / "other", seed=8)
    write(tmp_path / "more/in.jsonl", json_lines(records(3)))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    others = {
        "text: text, not {text}!": backfill(lines, tmp_path / "out", text="{text}!"),
        "int8": backfill(lines, tmp_path / "out", "--dtype", "int8"),
        "chunk_rows": backfill(lines, tmp_path / "out", "--rows-per-file", 7),
        "not other": backfill(lines, tmp_path / "out", ref="other"),
        "inputs": backfill("more", tmp_path / "out"),
    }
    for says, ended in others.items():
        assert "another backfill" in ended.error
        assert says in ended.error
        assert ended.code == 2
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.parametrize(
    ("pattern", "output"), [("in", "in"), ("in", "in/deep/out"), ("in/**", "in/out"), ("in/a/x.jsonl", "in")]
)
def test_input_and_output_lie_apart(pattern, output, tmp_path, backfill):
    write(tmp_path / "in/a/x.jsonl", b'{"text": "a"}\n')
    ended = backfill(tmp_path / pattern, tmp_path / output)
    assert "name another folder" in ended.error
    assert ended.code == 2
    assert [path.name for path in (tmp_path / "in").rglob("*")] == ["a", "x.jsonl"]


def archives(folder, n_files=3, n_rows=200):
    """Archives of JSON lines with texts that are hard to compress; number 1 is cut."""
    rng = np.random.default_rng(3)
    for number in range(n_files):
        ids = range(number * n_rows, (number + 1) * n_rows)
        table = pa.table({"id": ids, "text": [f"paid {a:x}" for a in rng.integers(1 << 60, size=n_rows)]})
        whole = gzip.compress(json_lines(table))
        write(folder / f"{number}.jsonl.gz", whole[:-900] if number == 1 else whole)
    return folder


@pytest.mark.slow
def test_the_rest_of_a_damaged_file_is_one_dead_letter_and_all_else_is_done(
    tmp_path, backfill, rows, letters
):
    damaged = archives(tmp_path / "in") / "1.jsonl.gz"
    ended = backfill(tmp_path / "in", tmp_path / "out", "--rows-per-file", 64, workers=2)
    assert ended.code == 1
    assert f"1 of 3 files cannot be read to the end, as {damaged}: " in ended.error
    assert "into another --output" in ended.error
    outcome = json.loads(ended.out)
    [letter] = letters(tmp_path / "out")
    n_rows = letter["row"] - 1 + 400
    assert letter["file"] == str(damaged)
    place = f"row {letter['row']} and byte {damaged.stat().st_size}"
    begins = f"the rest of the file cannot be read, from {place} on: "
    assert letter["reason"].startswith(f"{begins}{damaged} is damaged or truncated")
    assert outcome["damaged"] == [[str(damaged), letter["reason"]]]
    assert (outcome["records"], outcome["rows"], outcome["dead_letters"]) == (n_rows + 1, n_rows, 1)
    there = set(rows(tmp_path / "out")["id"].to_pylist())
    assert there == {*range(200), *range(200, 199 + letter["row"]), *range(400, 600)}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = backfill(tmp_path / "in", tmp_path / "out", "--rows-per-file", 64)
    assert again.code == 1
    assert {**json.loads(again.out), "seconds": 0} == {**outcome, "seconds": 0}
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}


@pytest.mark.slow
def test_a_backfill_that_was_interrupted_ends_the_same_with_a_damaged_file(tmp_path, backfill):
    archives(tmp_path / "in")
    one, two = tmp_path / "one", tmp_path / "two"
    first = json.loads(backfill(tmp_path / "in", one, "--rows-per-file", 64).out)
    shutil.copytree(one, two)
    (two / "_summary.json").unlink()
    for path in [*sorted(two.glob("part-00001*"))[-1:], *sorted(two.glob("part-00002*"))]:
        path.unlink()
    kept = {path: path.stat().st_mtime_ns for path in two.glob("*.parquet")}
    second = json.loads(backfill(tmp_path / "in", two, "--rows-per-file", 64).out)
    assert {**second, "seconds": 0, "output": ""} == {**first, "seconds": 0, "output": ""}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert {path.name: path.read_bytes() for path in two.rglob("*part*")} == {
        path.name: path.read_bytes() for path in one.rglob("*part*")
    }


@pytest.mark.slow
def test_the_summary_lists_damaged_files(tmp_path, millstream, model):
    archives(tmp_path / "in")
    (tmp_path / "in/3.parquet").write_bytes(b"PAR1 this is no Parquet PAR1")
    arguments = ("--model", model, "--input", tmp_path / "in", "--output", tmp_path / "out")
    ended = millstream("backfill", *arguments)
    assert ended.code == 1
    assert "2 of 4 files cannot be read to the end" in ended.error
    lines = ended.out[ended.out.index("damaged ") :].splitlines()
    assert [
        str(tmp_path / f"in/{name}") in line
        for name, line in zip(["1.jsonl.gz", "3.parquet"], lines, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param(1, marks=SLOW), 2])
def test_strict_stops_at_a_damaged_file_and_the_job_can_go_on(workers, tmp_path, backfill, rows):
    rng = np.random.default_rng(3)
    table = pa.table(
        {"id": range(25_000), "text": [f"paid {a:x}" for a in rng.integers(1 << 60, size=25_000)]}
    )
    whole = gzip.compress(json_lines(table))
    write(tmp_path / "in.jsonl.gz", whole[:-9000] + bytes(9000))
    arguments = (tmp_path / "in.jsonl.gz", tmp_path / "out", "--rows-per-file", 5000)
    ended = backfill(*arguments, "--strict", workers=workers)
    assert "in.jsonl.gz is damaged or truncated" in ended.error
    assert ended.code == 1
    there = sorted((tmp_path / "out").glob("*.parquet"))
    assert there
    assert not (tmp_path / "out/_summary.json").exists()
    before = [path.stat().st_mtime_ns for path in there]
    write(tmp_path / "in.jsonl.gz", whole)
    assert backfill(*arguments).done()["rows"] == 25_000
    assert [path.stat().st_mtime_ns for path in there] == before
    assert rows(tmp_path / "out")["id"].to_pylist() == list(range(25_000))


def test_if_no_file_can_be_read_nothing_is_written(tmp_path, backfill):
    for number in range(2):
        write(tmp_path / f"in/{number}.parquet", b"no Parquet")
    ended = backfill(tmp_path / "in", tmp_path / "out")
    assert ended.code == 1
    assert "cannot read" in ended.error
    assert no_output(tmp_path)


@pytest.mark.parametrize("depth", [61, 300, 5_000])
def test_a_row_that_is_nested_too_deep_is_a_dead_letter(depth, tmp_path, backfill, rows, letters):
    deep = b'{"id": 2, "text": "b", "deep": %s%s}\n' % (b'{"a":' * depth + b"1", b"}" * depth)
    data = b'{"id": 1, "text": "a"}\n' + deep + b'{"id": 3, "text": "c"}\n'
    write(tmp_path / "in.jsonl", data)
    backfill(tmp_path / "in.jsonl", tmp_path / "out").done()
    assert rows(tmp_path / "out")["id"].to_pylist() == [1, 3]
    [letter] = letters(tmp_path / "out")
    assert (letter["file"], letter["row"]) == (str(tmp_path / "in.jsonl"), 2)
    assert "deep" in letter["reason"]


def test_values_sixty_levels_deep_are_kept(tmp_path, backfill, rows):
    value = 1
    for _ in range(60):
        value = {"a": value}
    write(tmp_path / "in.jsonl", json.dumps({"text": "a", "deep": value}).encode())
    backfill(tmp_path / "in.jsonl", tmp_path / "out").done()
    assert rows(tmp_path / "out", by="text")["deep"].to_pylist() == [value]


EMPTY = {
    "jsonl": b"", "csv": b"", "tsv": b"", "txt": b"", "parquet": b"", "jsonl.gz": b"", "csv.zst": b"",
    "csv.gz": gzip.compress(b""), "jsonl.zst": zstd(b""), "log.gz": gzip.compress(b""), "ndjson": b"\n \n",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", EMPTY)
def test_files_of_nothing_are_the_same_in_all_formats(kind, tmp_path, backfill, rows):
    write(tmp_path / f"in/a.{kind}", EMPTY[kind])
    outcome = backfill(tmp_path / "in", tmp_path / "out").done()
    assert (outcome["records"], outcome["rows"], outcome["dead_letters"], outcome["damaged"]) == (0, 0, 0, [])
    write(tmp_path / "in/b.jsonl", b'{"id": 1, "text": "a"}')
    backfill(tmp_path / "in", tmp_path / "both").done()
    assert rows(tmp_path / "both").select(["id", "text"]).to_pylist() == [{"id": 1, "text": "a"}]


def test_columns_in_paths_are_kept_and_may_be_in_the_template(tmp_path, backfill, rows, encoder, matrix):
    write(tmp_path / "in/dt=2026-01-01/hour=07/a.jsonl", b'{"id": 1, "text": "a"}')
    pq.write_table(
        pa.table({"id": [2], "text": ["b"]}), write(tmp_path / "in/dt=2026-01-02/hour=11/b.parquet", b"")
    )
    backfill(tmp_path / "in", tmp_path / "out", text="{dt}: {text}").done()
    found = rows(tmp_path / "out")
    assert found.drop_columns(["embedding", "model_version"]).to_pylist() == [
        {"id": 1, "text": "a", "dt": "2026-01-01", "hour": 7},
        {"id": 2, "text": "b", "dt": "2026-01-02", "hour": 11},
    ]
    assert np.array_equal(matrix(found), encoder.encode(["2026-01-01: a", "2026-01-02: b"]))


def test_a_backfill_of_an_earlier_release_with_columns_in_paths_says_how_to_end_it(tmp_path, backfill):
    """Version 0.1.0 did not read them: its half-done folder has parts without these columns."""
    write(tmp_path / "in/dt=2026-01-01/a.jsonl", b'{"id": 1, "text": "a"}')
    backfill(tmp_path / "in", tmp_path / "out").done()
    (tmp_path / "out/_summary.json").unlink()
    marker = tmp_path / "out/_job.json"
    begun = json.loads(marker.read_text())
    begun["records"].remove("dt: string")
    del begun["dialect"]
    marker.write_text(json.dumps(begun))
    error = backfill(tmp_path / "in", tmp_path / "out").error
    assert "the output of another backfill (records without dt: string)" in error
    assert "begun with an earlier release: finish it with that one, or name another folder" in error


def test_debug_shows_the_traceback(lines, tmp_path, millstream, model):
    arguments = ("backfill", "--model", model, "--input", lines, "--output", tmp_path / "out", "--text", "no")
    assert "no record has the field 'no'" in millstream(*arguments).error
    with pytest.raises(Exception, match="no record has the field 'no'"):
        millstream("--debug", *arguments)
    with pytest.raises(Exception, match="no record has the field 'no'"):
        millstream(*arguments, "--debug")


@pytest.mark.slow
def test_a_missing_extra_is_named(lines, tmp_path, model):
    blocker = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'apache_beam':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    write(tmp_path / "site/sitecustomize.py", blocker.encode())
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pipelines",
            "backfill",
            "--model",
            model,
            "--input",
            lines,
            "--output",
            "out",
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(Path.cwd())])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == "error: apache_beam is not installed: pip install 'millstream[beam]'\n"
    assert ended.returncode == 2


@pytest.mark.slow
def test_a_process_of_its_own(lines, tmp_path, processes, ended, model, rows, encoder, matrix):
    process = processes(
        *("backfill", "--model", model, "--input", lines, "--output", tmp_path / "out", "--json")
    )
    outcome = ended(process)
    assert (outcome.done()["rows"], outcome.said) == (N, [])
    found = rows(tmp_path / "out")
    assert found["id"].to_pylist() == list(range(N))
    assert np.array_equal(matrix(found), encoder.encode(found["text"]))


@pytest.mark.slow
def test_json_fields_that_no_column_holds_are_counted(tmp_path, millstream, model, monkeypatch, rows):
    monkeypatch.setattr(json_sample, "SAMPLE_ROWS", 2)
    table = [{"id": i, "text": text_of(i), **({f"k{i}": i} if i >= 2 else {})} for i in range(5)]
    write(tmp_path / "in/a.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in table))
    arguments = ("--model", model, "--input", tmp_path / "in", "--rows-per-file", 2)
    ended = millstream("backfill", *arguments, "--output", tmp_path / "out")
    assert rows(tmp_path / "out").column_names == ["id", "text", "embedding", "model_version"]
    line = "left out           3 values of fields that no column holds: k2, k3, k4 (name them in --keep)"
    assert line in ended.out
    summary = json.loads((tmp_path / "out/_summary.json").read_bytes())
    assert summary["left_out"] == {"k2": 1, "k3": 1, "k4": 1}
    (tmp_path / "out/_summary.json").unlink()
    assert line in millstream("backfill", *arguments, "--output", tmp_path / "out").out  # from the parts
    ended = millstream("backfill", *arguments, "--output", tmp_path / "two", "--keep", "id,k3")
    assert "left out" not in ended.out
    assert rows(tmp_path / "two")["k3"].to_pylist().count(3) == 1


@pytest.mark.slow
def test_what_was_guessed_is_printed_and_flags_are_obeyed(tmp_path, millstream, model, rows):
    write(tmp_path / "in/a.csv", 'id;text\n1;"say \\"hi\\", ü"\n'.encode("utf-16"))
    arguments = ("--model", model, "--output", tmp_path / "out", "--input", tmp_path / "in")
    ended = millstream("backfill", *arguments)
    assert rows(tmp_path / "out")["text"].to_pylist() == ['say "hi", ü']
    assert (
        f"{tmp_path}/in/a.csv: guessed delimiter ';', escape '\\', encoding utf-16-le; "
        "to change it, set --delimiter, --escape, --encoding"
    ) in ended.err
    ended = millstream("backfill", *arguments, "--delimiter", ",")
    assert ended.code == 2
    assert "is the delimiter ';'? Set --delimiter ';'" in ended.err
    ended = millstream("backfill", *arguments, "--escape", "none")
    assert "(dialect escape: None, not )" in ended.err  # the same folder with another dialect
