"""`millstream encode`, as a person and as a script call it."""

import gzip
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from patience import PATIENCE
from terminals import OnTerminal

TEXTS = ["login failed at lisbon", "card used in tokyo", "", "disk full", 'a "quoted" \\ line\twith tab']
LINES = "\n".join(TEXTS) + "\n"
SLOW = pytest.mark.slow
FORMATS = ("npy", "parquet", "jsonl", "raw")


def program(*arguments):
    return [sys.executable, "-m", "pipelines", "encode", *map(str, arguments)]


@pytest.fixture
def encode(millstream, model, monkeypatch):
    """Run `millstream encode` in this process."""

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return millstream("encode", "--model", model, *arguments)

    return run


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "in.txt"
    path.write_text(LINES)
    return path


def parse(kind, data, dim, dtype="float32"):
    """The vectors, and the texts where the format has them."""
    if kind == "npy":
        return np.load(io.BytesIO(data)), None
    if kind == "raw":
        return np.frombuffer(data, dtype).reshape(-1, dim), None
    if kind == "jsonl":
        records = [json.loads(line) for line in data.splitlines()]
        texts = [record["text"] for record in records]
        vectors = [record["embedding"] for record in records]
        return np.array(vectors, dtype).reshape(-1, dim), texts
    table = pq.read_table(io.BytesIO(data))
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, dim)
    return vectors, table["text"].to_pylist()


@pytest.mark.parametrize("kind", FORMATS)
def test_row_n_is_the_vector_of_line_n(kind, encode, lines, tmp_path, encoder):
    wanted = encoder.encode(TEXTS)
    piped = encode("--format", kind, stdin=LINES.encode())
    assert (piped.code, piped.err) == (0, "")
    output = tmp_path / f"out.{'bin' if kind == 'raw' else kind}"
    assert encode("--output", output, lines).code == 0
    for data in (piped.data, output.read_bytes()):
        vectors, texts = parse(kind, data, encoder.dim)
        assert np.array_equal(vectors, wanted)
        assert texts in (None, TEXTS)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_takes_every_type(kind, dtype, encode, lines, tmp_path, encoder):
    output = tmp_path / "out"
    assert encode("--format", kind, "--dtype", dtype, "--output", output, lines).code == 0
    vectors, _ = parse(kind, output.read_bytes(), encoder.dim, dtype)
    assert vectors.dtype == dtype
    assert np.array_equal(vectors, encoder.encode(TEXTS, dtype=dtype))


@pytest.mark.parametrize("kind", FORMATS)
def test_no_lines_are_no_rows(kind, encode, tmp_path, encoder):
    output = tmp_path / "out"
    ended = encode("--format", kind, "--output", output)
    assert ended.code == 0
    assert f"{output}: 0 vectors of {encoder.dim} float32" in ended.err
    vectors, _ = parse(kind, output.read_bytes(), encoder.dim)
    assert vectors.shape == (0, encoder.dim)


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b"disk full", ["disk full"]),
        (b"disk full\r\ncard\r\n", ["disk full", "card"]),
        (b"\n\n", ["", ""]),
        (b"\r\n", [""]),
        (b"a\rb\n", ["a\rb"]),
        (b"disk\0full\n\0\n", ["disk\0full", "\0"]),
        (b"\xef\xbb\xbfdisk full\n", ["disk full"]),
        ("caf\u00e9 \u2028 \U0001f642\n".encode(), ["caf\u00e9 \u2028 \U0001f642"]),
        (b'"\\\x1f\x7f\n', ['"\\\x1f\x7f']),
        (b"disk " * 1_000_000, ["disk " * 1_000_000]),
    ],
    ids=["no-newline", "crlf", "empty", "empty-crlf", "lone-cr", "nul", "bom", "unicode", "controls", "long"],
)
def test_what_a_line_is(data, texts, encode, lines, encoder, tmp_path):
    lines.write_bytes(data)
    output = tmp_path / "out.jsonl"
    assert encode("--output", output, lines).code == 0
    vectors, found = parse("jsonl", output.read_bytes(), encoder.dim)
    assert found == texts
    assert np.array_equal(vectors, encoder.encode(texts))


def test_files_folders_globs_and_standard_input_are_read_in_order(encode, tmp_path, encoder):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfcard")
    (tmp_path / "b.log.gz").write_bytes(gzip.compress(b"disk\n"))
    (tmp_path / "more").mkdir()
    (tmp_path / "more/c").write_bytes(b"\xef\xbb\xbforder\n")
    inputs = (tmp_path / "a.txt", "-", f"{tmp_path}/*.gz", tmp_path / "more")
    ended = encode("--format", "jsonl", *inputs, stdin=b"login\n")
    assert parse("jsonl", ended.data, encoder.dim)[1] == ["card", "login", "disk", "order"]


def test_a_named_pipe_is_read_as_it_is_filled(encode, tmp_path, encoder):
    pipe, output = tmp_path / "pipe", tmp_path / "out.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("disk\nfull\n",))
    writer.start()
    assert encode("--output", output, pipe).code == 0
    writer.join()
    assert parse("jsonl", output.read_bytes(), encoder.dim)[1] == ["disk", "full"]


@SLOW
def test_lines_that_come_slowly_leave_at_once(model):
    pipe = subprocess.PIPE
    with subprocess.Popen(program("--model", model), stdin=pipe, stdout=pipe) as process:
        for text in (b"disk", b"full"):
            process.stdin.write(text + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["text"] == text.decode()
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("kind", ["npy", "parquet", "raw"])
def test_many_batches_are_one_file(kind, encode, tmp_path, encoder):
    texts = [f"order {i} paid at tokyo" for i in range(150_000)]
    path, output = tmp_path / "in.txt", tmp_path / "out"
    path.write_text("\n".join(texts))
    assert encode("--format", kind, "--dtype", "int8", "--output", output, path).code == 0
    vectors, found = parse(kind, output.read_bytes(), encoder.dim, "int8")
    assert found in (None, texts)
    assert np.array_equal(vectors, encoder.encode(texts, dtype="int8"))
    if kind == "parquet":
        metadata = pq.read_metadata(output)
        assert metadata.num_row_groups == 3
        assert metadata.metadata[b"model_version"] == b"tiny"


def test_a_version_of_a_store_is_named_in_parquet(millstream, model, lines, tmp_path):
    ref = millstream("models", "publish", model, "--store", tmp_path / "store", "--name", "tiny").out.strip()
    assert millstream("encode", "--model", ref, "-o", tmp_path / "out.parquet", lines).code == 0
    assert pq.read_schema(tmp_path / "out.parquet").metadata[b"model_version"] == b"tiny@1"


def test_a_line_that_is_not_utf8_is_named(encode, lines, tmp_path):
    lines.write_bytes(b"disk\ncaf\xe9\nfull\n")
    output = tmp_path / "out.npy"
    output.write_bytes(b"what was there")
    error = encode("--output", output, lines).error
    assert f"{lines}, line 2: not UTF-8: byte 0xe9 at position 3" in error
    assert "--invalid-utf8 replace" in error
    assert output.read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "out.npy"]


def test_compressed_lines_are_named(encode, tmp_path):
    (tmp_path / "a.log").write_bytes(gzip.compress(b"paid\n"))
    said = encode(tmp_path / "a.log").error
    assert said == f"error: cannot read {tmp_path}/a.log: it is gzip, not text: let its name end with .gz"


def test_bytes_that_are_not_utf8_are_replaced_and_counted(encode, lines, tmp_path, encoder):
    lines.write_bytes(b"disk\ncaf\xe9\n\xff\xfe\r\nfull")
    output = tmp_path / "out.jsonl"
    ended = encode("--invalid-utf8", "replace", "--output", output, lines)
    assert "2 lines are not UTF-8: their bytes were replaced with U+FFFD" in ended.err
    texts = ["disk", "caf\ufffd", "\ufffd\ufffd", "full"]
    assert parse("jsonl", output.read_bytes(), encoder.dim)[1] == texts


@SLOW
@pytest.mark.parametrize("kind", FORMATS)
def test_a_reader_that_goes_ends_it_quietly(kind, model, tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("order paid at tokyo\n" * 100_000)
    command = " ".join(program("--model", model, "--format", kind, path))
    ended = subprocess.run(
        ["bash", "-c", f"{command} | head -c 10; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        check=False,
        timeout=PATIENCE,
    )
    assert len(ended.stdout) == 10
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_an_output_is_replaced_as_a_whole_and_keeps_its_rights_and_its_link(encode, lines, tmp_path, encoder):
    target, link = tmp_path / "target.npy", tmp_path / "link.npy"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    assert encode("--output", link, lines).code == 0
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    assert np.load(target).shape == (len(TEXTS), encoder.dim)


def test_a_device_is_written_to_directly(encode, lines):
    assert encode("--format", "npy", "--output", "/dev/null", lines).code == 0
    assert Path("/dev/null").is_char_device()


@SLOW
def test_binary_output_on_a_terminal_is_refused(model, lines):
    terminal = OnTerminal(program("--model", model, "--format", "npy", lines))
    try:
        terminal.wait_for(r"npy is binary and standard output is a terminal: give --output\s+FILE")
        assert terminal.end() == 2
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("-o", "out.dat", "in.txt"),
            "cannot tell the format of out.dat: give --format npy|",
        ),
        (("-o", "no/out.npy", "in.txt"), "no/out.npy: No such file or directory"),
        (("--format", "npy", "-o", "in.txt", "in.txt"), "in.txt is an input too: name another --output"),
        (("nothing.txt",), "no input files at 'nothing.txt'"),
        (("in.parquet",), "in.parquet is Parquet, not lines of text: use millstream backfill"),
        (("--top", "3", "in.txt"), "--top is for --neighbours"),
        (("--neighbours", "disk", "--dtype", "int8", "in.txt"), "--neighbours prints lines, not vectors"),
        (("--neighbours", "\u4e2d", "in.txt"), "the model knows no token of --neighbours '\u4e2d'"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, says, encode, lines, monkeypatch):
    monkeypatch.chdir(lines.parent)
    (lines.parent / "in.parquet").write_bytes(b"PAR1")
    assert says in encode(*arguments).error
    assert lines.read_text() == LINES


def test_neighbours_are_the_lines_with_the_highest_cosines(encode, tmp_path, encoder):
    texts = [f"order {i} paid at tokyo" for i in range(30_000)] + ["disk full", "", "disk 1 full"] * 2
    path = tmp_path / "in.txt"
    path.write_text("\n".join(texts))
    ended = encode("--neighbours", "disk full", "--top", "20", "--format", "jsonl", path)
    found = [json.loads(line) for line in ended.out.splitlines()]
    cosines = encoder.encode(texts) @ encoder.encode("disk full")
    wanted = sorted(dict(zip(texts, cosines.tolist(), strict=True)).values(), reverse=True)[:20]
    assert [one["cosine"] for one in found] == pytest.approx(wanted, abs=1e-6)
    assert [one["text"] for one in found[:2]] == ["disk full", "disk 1 full"]
    assert len({one["text"] for one in found}) == 20
    first, *_ = encode("--neighbours", "disk full", path).out.splitlines()
    assert first == " 1.0000  disk full"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-be", "cp1252"])
def test_lines_of_another_encoding_are_those_of_utf8(encode, tmp_path, encoding):
    (tmp_path / "a.txt").write_text("Grüße\r\nzwei\r\n", encoding=encoding, newline="")
    flags = ("--encoding", encoding) if encoding == "cp1252" else ()
    ended = encode(tmp_path / "a.txt", *flags)
    assert [json.loads(line)["text"] for line in ended.out.splitlines()] == ["Grüße", "zwei"]
    name = {"utf-16": "utf-16-le"}.get(encoding, encoding)
    said = f"{tmp_path}/a.txt: guessed encoding {name}; to change it, set --encoding"
    assert (said in ended.err) == (encoding != "cp1252")
