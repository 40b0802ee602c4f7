"""Whatever is written is read back: no row lost, none twice, rightly numbered, however the file is cut."""

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
from pipelines.sources.files import chunks
from pipelines.sources.files.discovery import InputFile, find_inputs
from pipelines.sources.files.reader import read_split
from pipelines.sources.files.splits import split_file

UTF8 = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(st.one_of(UTF8, st.sampled_from('\r\n",\t\0\u2028\ufeff{}\\🦀 a')), max_size=12)
LINES = TEXTS.map(lambda text: text.replace("\n", " ").rstrip("\r"))
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


COMPRESSIONS = st.sampled_from([None, "gz", "zst"])
CUTS = st.fixed_dictionaries(
    {"target_bytes": st.sampled_from([1, 16, 64, 1 << 20]), "chunk_rows": st.sampled_from([1, 3, 65_536])}
)


@any_example
@given(st.lists(LINES), st.tuples(st.booleans(), st.sampled_from(["\n", "\r\n"])), COMPRESSIONS, CUTS)
def test_text_lines_are_read_back(tmp_path, lines, ending, compression, cut):
    ended, newline = ending
    data = newline.join([*lines, ""] if ended else lines).encode()
    if not ended and lines and not lines[-1]:
        lines = lines[:-1]  # nothing stands behind the last line break
    file = write(tmp_path, "a.log", data, compression)
    records, bad = read(file, **cut)
    if lines:
        lines[0] = lines[0].removeprefix("\ufeff")
    if lines and len(lines) == 1 and not ended and data == "\ufeff".encode():
        lines = []
    assert records == {row: {"text": line} for row, line in enumerate(lines, 1)}
    assert not bad


BAD_TEXT = st.sampled_from([b"\xff", b"ab\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"])


@any_example
@given(st.lists(st.one_of(LINES.map(str.encode), BAD_TEXT)), COMPRESSIONS, CUTS)
def test_lines_that_are_not_utf8_are_bad_and_the_others_stay(tmp_path, lines, compression, cut):
    file = write(tmp_path, "a.txt", b"".join(b"x" + line + b"\n" for line in lines), compression)
    records, bad = read(file, **cut)
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
    [b"{", b"[1]", b"null", b'{"text":1}', b'{"text":"\xff"}', b'{"text":"a"}{"text":"b"}', b'"{}"', b"}{",
     b'{"text":"a","text":"b"}', b'{"text":["a"]}', b'{"text":', b'"a"}', b'{"text":"\\ud800"}', b'{"n":"x"}',
     b'{"text":"a","o":[{}', b"{}]}", b'{"text":"a"} x', b'{"n":1.5}', b'{"n":99999999999999999999}', b"\x00",
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
@given(st.data(), st.lists(st.one_of(OBJECTS, BAD_JSON, st.just(b""))), COMPRESSIONS, CUTS)
def test_json_lines_are_read_back_and_bad_ones_isolated(tmp_path, data, lines, compression, cut):
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
    records, bad = read(file, JSON_SCHEMA, **cut)
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
    st.tuples(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]), st.sampled_from([",", "\t"])),
    st.sampled_from([b"\n", b"\r\n"]),
    COMPRESSIONS,
    CUTS,
)
def test_csv_records_are_read_back_and_bad_ones_isolated(tmp_path, lines, dialect, newline, compression, cut):
    quoting, delimiter = dialect
    header = csv_line(["te\nxt", "n"], quoting, delimiter)
    written = [
        line.replace(b",", delimiter.encode())
        if isinstance(line, bytes)
        else csv_line(line, quoting, delimiter)
        for line in lines
    ]
    file = write(
        tmp_path, "a.csv" if delimiter == "," else "a.tsv", newline.join([header, *written]), compression
    )
    schema = pa.schema([("n", pa.string()), ("gone", pa.int64()), ("te\nxt", pa.string())])
    records, bad = read(file, schema, **cut)
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
@given(st.lists(st.one_of(TEXTS, st.none())), st.integers(1, 5), CUTS)
def test_parquet_rows_are_read_back(tmp_path, texts, group, cut):
    table = pa.table({"n": pa.array(range(len(texts)), pa.int32()), "text": pa.array(texts, pa.string())})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=group)
    schema = pa.schema([("text", pa.large_string()), ("gone", pa.string()), ("n", pa.int64())])
    records, bad = read(find_inputs(str(path))[0], schema, **cut)
    assert records == {row: {"text": text, "gone": None, "n": row - 1} for row, text in enumerate(texts, 1)}
    assert not bad


ANOTHER = ". Set --encoding if the file is in another encoding, as in cp1252"
REASONS = {
    b'{"text": "a"': "not JSON: Input data was truncated",
    b'{"text": "\xff"}': f"not UTF-8: byte 0xff at position 10{ANOTHER}",
    b'{"n": "abc"}': "field 'n': expected a whole number, found \"abc\"",
    b'{"text": 12.5}': "field 'text': expected a string, found 12.5",
    b'{"n": 1.5}': "field 'n': expected a whole number, found 1.5",
    b'{"n": 9223372036854775808}': "field 'n': expected a whole number, found 9223372036854775808",
    b'{"u": "x"}': "field 'u': expected an object, found \"x\"",
    b'{"u": {"v": true}}': "field 'u.v': expected a string, found true",
    b'{"text": "a", "text": "b"}': "field 'text' appears twice",
    b"[1, 2]": "not an object: found a list",
    b'"text"': "not an object: found a string",
    b"null": "not an object: found null",
}


@pytest.mark.parametrize("line", REASONS)
def test_the_reason_says_what_is_wrong_with_a_line(tmp_path, line):
    file = write(tmp_path, "a.jsonl", b'{"text": "good"}\n' + line + b"\n")
    records, bad = read(file, JSON_SCHEMA)
    assert list(records) == [1]
    assert bad[2].reason == REASONS[line]
    assert bad[2].record == line


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (b"1,2\n3\n", "1 fields where the header has 2"),
        (b'1,2\n"3,4\n5,6\n', "a quote is never closed"),
        (b"1,2\n3\r3,4\n", "a carriage return outside quotes"),
        (b"1,2\n\xc3,4\n", f"not UTF-8: byte 0xc3 at position 0{ANOTHER}"),
    ],
)
def test_the_reason_says_what_is_wrong_with_a_csv_record(tmp_path, lines, reason):
    records, bad = read(write(tmp_path, "a.csv", b"text,n\n" + lines), chunk_rows=100)
    assert records == {1: {"text": "1"}}
    assert bad[2].reason == reason


def test_strings_that_look_like_times_and_numbers_stay_as_they_are(tmp_path):
    texts = ["2026-01-01T00:00:00Z", "2026-01-01 00:00:00", "2026-01-01", "12", "true", "null", "NaN", ""]
    lines = "\n".join(json.dumps({"text": text}) for text in texts).encode()
    records, _ = read(write(tmp_path, "a.jsonl", lines))
    assert [record["text"] for record in records.values()] == texts
    records, _ = read(write(tmp_path, "a.csv", "\n".join(["text", *texts[:-1], '""']).encode()))
    assert [record["text"] for record in records.values()] == texts


def test_blank_lines_count_as_rows_but_are_no_records(tmp_path):
    records, bad = read(write(tmp_path, "a.jsonl", b'\n \n{"text":"a"}\n\r\n\t\n{"text":"b"}\n\n'))
    assert (records, bad) == ({3: {"text": "a"}, 6: {"text": "b"}}, {})
    records, bad = read(write(tmp_path, "a.csv", b'\ntext,n\n\n"a",1\n\r\nb,2'))
    assert (records, bad) == ({2: {"text": "a"}, 4: {"text": "b"}}, {})


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.log"])
def test_a_byte_order_mark_is_not_read_as_text(tmp_path, name):
    data = {"a.jsonl": '{"text":"x"}', "a.csv": "text,n\nx,1", "a.log": "x"}[name]
    records, _ = read(write(tmp_path, name, ("\ufeff" + data).encode()))
    assert records == {1: {"text": "x"}}


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.log"])
@pytest.mark.parametrize("compression", [None, "gz", "zst"])
def test_rows_of_ten_megabytes_are_read(tmp_path, name, compression):
    texts = ["y" * 10_000_000, "é" * 3_000_000, "z"]
    data = {
        "a.jsonl": "\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in texts),
        "a.csv": "\n".join(["text", *texts]),
        "a.log": "\n".join(texts),
    }[name]
    records, bad = read(write(tmp_path, name, data.encode(), compression), chunk_rows=100)
    assert [record["text"] for record in records.values()] == texts
    assert not bad


@pytest.mark.parametrize("compression", ["gz", "zst"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "none at all"])
def test_a_damaged_archive_is_named(tmp_path, compression, damage):
    data = b"".join(b"%d line\n" % (i * 7919) for i in range(20_000))
    file = write(tmp_path, "a.log", data, compression)
    stored = Path(file.path).read_bytes()
    if damage == "flipped":
        stored = stored[:8] + bytes(byte ^ 0x55 for byte in stored[8:72]) + stored[72:]
    else:
        stored = stored[: len(stored) // 2] if damage == "cut" else data
    Path(file.path).write_bytes(stored)
    file = find_inputs(file.path)[0]
    with pytest.raises(InputError, match=f"{file.path} is damaged or truncated"):
        read(file)


def test_a_damaged_parquet_file_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 this is no Parquet PAR1")
    with pytest.raises(InputError, match=r"cannot read .*a\.parquet"):
        read(find_inputs(str(path))[0])


def test_a_parquet_column_that_does_not_fit_is_named(tmp_path):
    pq.write_table(pa.table({"text": ["a", "b"]}), tmp_path / "a.parquet")
    file = find_inputs(str(tmp_path))[0]
    with pytest.raises(InputError, match=r"a\.parquet: column 'text' is string and does not fit int64"):
        read(file, pa.schema([("text", pa.int64())]))


def test_of_a_parquet_struct_only_the_wanted_fields_are_read(tmp_path):
    table = pa.table({"u": [{"v": "a", "w": 1}, None], "u.v": ["dotted", None], "l": [[{"x": 1}], []]})
    pq.write_table(table, tmp_path / "a.parquet")
    schema = pa.schema([("u", pa.struct([("v", pa.string())])), ("l", table.schema.field("l").type)])
    records, _ = read(find_inputs(str(tmp_path))[0], schema)
    assert records == {1: {"u": {"v": "a"}, "l": [{"x": 1}]}, 2: {"u": None, "l": []}}


def test_chunks_of_long_rows_end_early_and_always_at_the_same_row(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.sources.files.reader.CHUNK_BYTES", 1000)
    file = write(tmp_path, "a.log", b"".join(b"x" * (i % 300) + b"\n" for i in range(500)), "gz")
    found = []
    for read_bytes in (64, 1 << 20):
        monkeypatch.setattr("pipelines.sources.files.byte_stream.READ_BYTES", read_bytes)
        parts = [part for split in split_file(file) for part in read_split(split, SCHEMA, 100)]
        found.append([part.rows.tolist() for part in parts])
        assert sum(part.n_bytes for part in parts) == file.size
    assert found[0] == found[1]
    assert sum(map(len, found[0])) == 500
    assert all(sum(row % 300 for row in rows[:-1]) < 1300 for rows in found[0])


def test_a_row_without_an_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.formats.row_boundaries.MAX_ROW_BYTES", 1 << 21)
    file = write(tmp_path, "a.csv", b'text,n\n1,2\n"' + b"x\n" * (3 << 20))
    with pytest.raises(InputError, match=r"a\.csv has a row of more than .*never closed"):
        read(file, target_bytes=1 << 30)


def test_a_chunk_is_the_same_whatever_way_its_parts_were_joined():
    empty = pa.RecordBatch.from_pylist([], SCHEMA)
    parts = chunks.join_parts(iter([]), SCHEMA, 3, 7)
    assert [(part.n_bytes, part.n_read, part.batch) for part in parts] == [(4, 0, empty)]
    assert list(chunks.join_parts(iter([]), SCHEMA, 7, 7)) == []


def test_a_file_that_is_gone_is_named(tmp_path):
    file = InputFile(str(tmp_path / "gone.log"), 10, "text", None)
    with pytest.raises(InputError, match=r"there is no file .*gone\.log"):
        read(file)
