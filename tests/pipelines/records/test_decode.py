"""Whatever is written is read back: no row lost, none twice, each with its number, however the file is cut."""

import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encoder.errors import InputError
from pipelines.records import chunks
from pipelines.records.decode import read_split
from pipelines.records.formats import InputFile, find_inputs
from pipelines.records.splits import split_file

UTF8 = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(st.one_of(UTF8, st.sampled_from('\r\n",\t\0\u2028\ufeff{}\\🦀 a')), max_size=12)
LINES = TEXTS.map(lambda text: text.replace("\n", " ").rstrip("\r"))
COMPRESSIONS = st.sampled_from([None, "gz", "zst"])
SCHEMA = pa.schema([("text", pa.string())])

any_example = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def write(folder, name, data, compression=None):
    if compression == "gz":
        half = len(data) // 2
        data = gzip.compress(data[:half]) + gzip.compress(data[half:])  # two members, as parallel gzips write
    elif compression == "zst":
        data = pa.Codec("zstd").compress(data).to_pybytes()
    path = Path(folder) / (name + (f".{compression}" if compression else ""))
    path.write_bytes(data)
    return find_inputs(str(path))[0]


def read(file, schema=SCHEMA, target_bytes=64, chunk_rows=3):
    """All records as {row: values}, all bad rows as {row: reason}; checks what holds of any reading."""
    records, bad, n_bytes = {}, {}, 0
    splits = list(split_file(file, target_bytes))
    assert [split.end for split in splits[:-1]] == [split.start for split in splits[1:]]
    for split in splits:
        parts = list(read_split(split, schema, chunk_rows))
        assert parts or file.size == 0
        for part in parts:
            assert part.batch.schema == schema
            assert part.rows.dtype == np.int64
            assert part.batch.num_rows == len(part.rows) == part.n_read - len(part.bad)
            part.batch.validate(full=True)
            n_bytes += part.n_bytes
            assert part.n_bytes >= 0
            for row, values in zip(part.rows.tolist(), part.batch.to_pylist(), strict=True):
                assert row not in records
                records[row] = values
            for row in part.bad:
                assert row.file == file.path
                assert row.row not in bad
                bad[row.row] = row
        rows = [set(part.rows.tolist()) | {row.row for row in part.bad} for part in parts]
        for number, numbers in enumerate(rows):
            first = split.first_row + number * chunk_rows
            assert numbers <= set(range(first, first + chunk_rows))
    assert n_bytes == file.size
    assert not set(records) & set(bad)
    return records, bad


SIZES = st.sampled_from([1, 16, 64, 1 << 20])
CHUNKS = st.sampled_from([1, 3, 65_536])


@any_example
@given(st.lists(LINES), st.booleans(), st.sampled_from(["\n", "\r\n"]), COMPRESSIONS, SIZES, CHUNKS)
def test_text_lines_are_read_back(tmp_path, lines, ended, newline, compression, size, rows):
    data = newline.join([*lines, ""] if ended else lines).encode()
    if not ended and lines and not lines[-1]:
        lines = lines[:-1]  # nothing stands behind the last line break
    file = write(tmp_path, "a.log", data, compression)
    records, bad = read(file, target_bytes=size, chunk_rows=rows)
    if lines:
        lines[0] = lines[0].removeprefix("\ufeff")
    if lines and len(lines) == 1 and not ended and data == "\ufeff".encode():
        lines = []
    assert records == {row: {"text": line} for row, line in enumerate(lines, 1)}
    assert not bad


BAD_TEXT = st.sampled_from([b"\xff", b"ab\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"])


@any_example
@given(st.lists(st.one_of(LINES.map(str.encode), BAD_TEXT)), COMPRESSIONS, SIZES, CHUNKS)
def test_lines_that_are_not_utf8_are_bad_and_the_others_stay(tmp_path, lines, compression, size, rows):
    file = write(tmp_path, "a.txt", b"".join(b"x" + line + b"\n" for line in lines), compression)
    records, bad = read(file, target_bytes=size, chunk_rows=rows)
    for row, line in enumerate(lines, 1):
        try:
            text = (b"x" + line).decode()
        except UnicodeDecodeError:
            assert bad[row].record == b"x" + line
            assert bad[row].reason.startswith("not UTF-8: byte 0x")
        else:
            assert records[row] == {"text": text}
    assert len(records) + len(bad) == len(lines)


BAD_JSON = st.sampled_from(
    [b"{", b"[1]", b"null", b'{"text":1}', b'{"text":"\xff"}', b'{"text":"a"}{"text":"b"}', b'"{}"', b"x", b"}{",
     b'{"text":"a","text":"b"}', b'{"text":["a"]}', b'{"text":', b'"a"}', b'{"text":"\\ud800"}', b'{"n":"x"}',
     b'{"text":"a","o":[{}', b'{}]}', b'{"text":"a"} x', b'{"n":1.5}', b'{"n":99999999999999999999}', b"\x00",
     b'{"u":1}', b'{"u":{"v":1}}', b'{"text":"a\tb"}', b'{"other":"\xff"}', b'{"a":01}', b'{"text":tru}']
)  # fmt: skip
JSON_SCHEMA = pa.schema([("text", pa.string()), ("n", pa.int64()), ("u", pa.struct([("v", pa.string())]))])
OBJECTS = st.fixed_dictionaries(
    {"text": st.one_of(TEXTS, st.none())},
    optional={
        "n": st.integers(-(2**63), 2**63 - 1),
        "u": st.fixed_dictionaries({}, optional={"v": TEXTS, "w": st.integers()}),
        "other": st.recursive(
            st.one_of(TEXTS, st.floats(allow_nan=False), st.booleans()), st.lists, max_leaves=4
        ),
    },
)


def as_row(record):
    u = record.get("u")
    return {"text": record.get("text"), "n": record.get("n"), "u": None if u is None else {"v": u.get("v")}}


@any_example
@given(st.data(), st.lists(st.one_of(OBJECTS, BAD_JSON, st.just(b""))), COMPRESSIONS, SIZES, CHUNKS)
def test_json_lines_are_read_back_and_bad_ones_isolated(tmp_path, data, lines, compression, size, rows):
    written = []
    for line in lines:
        if isinstance(line, bytes):
            written.append(line)
        else:
            text = json.dumps(line, ensure_ascii=data.draw(st.booleans()))
            written.append(data.draw(st.sampled_from(["", " ", "\t"])).encode() + text.encode())
    newline = data.draw(st.sampled_from([b"\n", b"\r\n"]))
    file = write(
        tmp_path, "a.jsonl", newline.join(written) + data.draw(st.sampled_from([b"", newline])), compression
    )
    records, bad = read(file, JSON_SCHEMA, size, rows)
    assert records == {row: as_row(line) for row, line in enumerate(lines, 1) if isinstance(line, dict)}
    assert {row: found.record for row, found in bad.items()} == {
        row: line for row, line in enumerate(lines, 1) if isinstance(line, bytes) and line
    }
    assert all("\n" not in found.reason for found in bad.values())


BAD_CSV = st.sampled_from([b"one", b"a,b,c", b'"a,b"', b"\xff,b", b'"\n"', b"a\rb,c", b'x,"\n\xff"'])


def csv_line(row, quoting, delimiter):
    out = io.StringIO()
    csv.writer(out, quoting=quoting, delimiter=delimiter).writerow(row)
    return out.getvalue().removesuffix("\r\n").encode()


@any_example
@given(
    st.lists(st.one_of(st.tuples(TEXTS, TEXTS), BAD_CSV)),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from([b"\n", b"\r\n"]),
    st.sampled_from([".csv", ".tsv"]),
    COMPRESSIONS,
    SIZES,
    CHUNKS,
)
def test_csv_records_are_read_back_and_bad_ones_isolated(
    tmp_path, lines, quoting, newline, kind, compression, size, rows
):
    delimiter = "\t" if kind == ".tsv" else ","
    header = csv_line(["te\nxt", "n"], quoting, delimiter)
    written = [
        line.replace(b",", delimiter.encode())
        if isinstance(line, bytes)
        else csv_line(line, quoting, delimiter)
        for line in lines
    ]
    file = write(tmp_path, f"a{kind}", newline.join([header, *written]), compression)
    schema = pa.schema([("n", pa.string()), ("gone", pa.int64()), ("te\nxt", pa.string())])
    records, bad = read(file, schema, size, rows)
    assert records == {
        row: {"n": line[1], "gone": None, "te\nxt": line[0]}
        for row, line in enumerate(lines, 1)
        if isinstance(line, tuple)
    }
    assert {row: found.record for row, found in bad.items()} == {
        row: record
        for row, (line, record) in enumerate(zip(lines, written, strict=True), 1)
        if isinstance(line, bytes)
    }


@any_example
@given(st.lists(st.one_of(TEXTS, st.none())), st.integers(1, 5), SIZES, CHUNKS)
def test_parquet_rows_are_read_back(tmp_path, texts, group, size, rows):
    table = pa.table({"n": pa.array(range(len(texts)), pa.int32()), "text": pa.array(texts, pa.string())})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=group)
    schema = pa.schema([("text", pa.large_string()), ("gone", pa.string()), ("n", pa.int64())])
    records, bad = read(find_inputs(str(path))[0], schema, size, rows)
    assert records == {row: {"text": text, "gone": None, "n": row - 1} for row, text in enumerate(texts, 1)}
    assert not bad
