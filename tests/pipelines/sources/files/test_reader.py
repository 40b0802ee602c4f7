"""Whatever is written is read back: no row lost, none twice, rightly numbered, however the file is cut."""

import bz2
import csv
import errno
import gzip
import io
import json
import lzma
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from encoder.errors import StoreUnavailable
from pipelines.records.encodings import wide_encoding
from pipelines.sinks.parquet import parquet_writer
from pipelines.sources.files import chunks
from pipelines.sources.files.discovery import find_inputs
from pipelines.sources.files.reader import read_split
from pipelines.sources.files.schema import infer_schema
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
    data = b"".join(b"x" + line + b"\n" for line in lines)
    assume(wide_encoding(data) is None)  # a few bytes with a NUL may as well be characters of UTF-16
    records, bad = read(write(tmp_path, "a.txt", data, compression), **cut)
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


def fails_with(error):
    def fail(*_):
        raise error

    return fail


def rest_of(records, bad):
    """The bad row that stands for the rest of a file; every row before it was read."""
    row = max(bad)
    assert bad[row].rest
    assert not any(one.rest for number, one in bad.items() if number != row)
    assert set(records) | set(bad) == set(range(1, row + 1))
    return bad[row]


def gzip_of(lines):
    return gzip.compress(b"".join(lines))


def zstd_of(lines):
    return pa.Codec("zstd").compress(b"".join(lines)).to_pybytes()


NUMBERED = [b"%d line\n" % (i * 7919) for i in range(20_000)]
PACK = {"gz": gzip_of, "zst": zstd_of}


@pytest.mark.parametrize("compression", PACK)
@pytest.mark.parametrize("cut", [1, 9, 15_000])
def test_of_a_cut_archive_all_whole_rows_are_read(tmp_path, compression, cut):
    stored = PACK[compression](NUMBERED)[:-cut]
    (path := tmp_path / f"a.log.{compression}").write_bytes(stored)
    records, bad = read(find_inputs(str(path))[0], chunk_rows=3_000)
    rest = rest_of(records, bad)
    texts = [line.decode().rstrip() for line in NUMBERED]
    assert [record["text"] for record in records.values()] == texts[: len(records)]
    assert len(records) >= (8_000 if cut > 9 else 20_000 if compression == "gz" else 17_000)  # whole blocks
    begins = (
        f"the rest of the file cannot be read, from row {rest.row} and byte {len(stored)} on: {path} is dam"
    )
    assert rest.reason.startswith(begins)


@pytest.mark.parametrize("compression", PACK)
def test_a_damage_in_the_middle_of_an_archive_ends_only_this_file(tmp_path, compression):
    stored = bytearray(PACK[compression](NUMBERED) + PACK[compression](NUMBERED))
    place = len(stored) * 3 // 4 if compression == "gz" else len(stored) // 2  # pyarrow writes no checksum
    stored[place : place + 64] = bytes(byte ^ 0x55 for byte in stored[place : place + 64])
    (path := tmp_path / f"a.log.{compression}").write_bytes(stored)
    records, bad = read(find_inputs(str(path))[0], chunk_rows=3_000)
    assert "is damaged or truncated" in rest_of(records, bad).reason
    texts = [line.decode().rstrip() for line in NUMBERED]
    assert [record["text"] for record in list(records.values())[:20_000]] == texts


@pytest.mark.parametrize("compression", PACK)
def test_a_file_that_is_no_archive_is_one_bad_row(tmp_path, compression):
    (path := tmp_path / f"a.log.{compression}").write_bytes(b"no archive\n" * 100)
    records, bad = read(find_inputs(str(path))[0])
    assert not records
    assert f"from row 1 and byte 0 on: {path} is damaged or truncated" in rest_of(records, bad).reason


@pytest.mark.parametrize("name", ["a.log", "a.jsonl", "a.csv"])
@pytest.mark.parametrize(
    ("data", "what"),
    [
        (gzip.compress(b"text\n" * 100), "gzip, not text: let its name end with .gz"),
        (
            pa.compress(b"text\n" * 100, "zstd", asbytes=True),
            "Zstandard, not text: let its name end with .zst",
        ),
        (bz2.compress(b"text\n" * 100), "bzip2, not text: decompress it"),
        (lzma.compress(b"text\n" * 100), "xz, not text: decompress it"),
        (b"PAR1\x15\x04card\nused\n", "Parquet, not text: let its name end with .parquet"),
    ],
    ids=["gzip", "zstd", "bzip2", "xz", "parquet"],  # gzip's bytes hold the time, which an id may not
)
def test_a_file_that_is_no_text_is_one_bad_row_whatever_its_name_says(tmp_path, name, data, what):
    (tmp_path / name).write_bytes(data)
    (tmp_path / f"twice_{name}.gz").write_bytes(gzip.compress(data))
    for file in find_inputs(str(tmp_path)):
        records, bad = read(file)
        assert not records
        assert rest_of(records, bad).reason.endswith(f": it is {what}")


def test_text_may_begin_as_archives_do(tmp_path):
    lines = ["BZh9 is how bzip2 begins", "PAR1", "Obj", "ORC", "PK", "BZh91AY&S"]
    for line in lines:
        records, bad = read(write(tmp_path, "a.log", line.encode() + b"\n"))
        assert (records, bad) == ({1: {"text": line}}, {})


def test_a_checksum_that_does_not_match_makes_the_rows_before_it_doubtful(tmp_path):
    stored = bytearray(gzip_of(NUMBERED[:100]))
    stored[-6] ^= 1
    (tmp_path / "a.log.gz").write_bytes(stored)
    records, bad = read(find_inputs(str(tmp_path))[0], chunk_rows=1000)
    assert len(records) == 100
    assert "records before this place may be wrong too" in rest_of(records, bad).reason


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("padding", [0, 1, 512, 1 << 20])
@pytest.mark.parametrize("read_bytes", [1, 1 << 18])
def test_members_and_padding_are_read_as_gzip_reads_them(tmp_path, monkeypatch, parts, padding, read_bytes):
    monkeypatch.setattr("pipelines.sources.files.decompression._STEP", read_bytes)
    packed = b"".join(gzip.compress(b"a%d\n" % i) + bytes(padding) for i in range(parts))
    assume_fast = padding < 1000 or read_bytes > 1
    if not assume_fast:
        packed = packed[:5_000]
    (tmp_path / "a.log.gz").write_bytes(packed)
    records, bad = read(find_inputs(str(tmp_path))[0])
    assert [record["text"] for record in records.values()] == [
        f"a{i}" for i in range(parts if assume_fast else 1)
    ]
    assert not bad


@pytest.mark.parametrize("more", [b"garbage", b"\x1f", b"b\nc\n"])
def test_bytes_behind_an_archive_are_a_damage(more, tmp_path):
    (path := tmp_path / "a.log.gz").write_bytes(gzip.compress(b"a\n") + bytes(3) + more)
    records, bad = read(find_inputs(str(path))[0])
    assert records == {1: {"text": "a"}}
    [rest] = bad.values()
    assert "bytes that are not gzip follow its compressed data" in rest.reason


@any_example
@given(st.data())
def test_whatever_is_damaged_each_row_is_read_or_part_of_the_rest(tmp_path, data):
    kind = data.draw(st.sampled_from([*PACK, "parquet"]))
    lines = NUMBERED[:300]
    if kind == "parquet":
        sink = io.BytesIO()
        table = pa.table({"text": [line.decode().rstrip() for line in lines]})
        pq.write_table(table, sink, row_group_size=100, write_page_checksum=True)
        stored = bytearray(sink.getvalue())
    else:
        stored = bytearray(PACK[kind](lines))
    place = data.draw(st.integers(0, len(stored) - 1))
    if data.draw(st.booleans()):
        stored = stored[:place]
    else:
        stored[place] ^= data.draw(st.integers(1, 255))
    name = "a.parquet" if kind == "parquet" else f"a.log.{kind}"
    (path := tmp_path / name).write_bytes(stored)
    records, bad = read(find_inputs(str(path))[0], chunk_rows=50)
    assert sum(one.rest for one in bad.values()) <= (3 if kind == "parquet" else 1)
    if kind == "parquet":  # its pages have checksums
        assert all(values["text"] == lines[row - 1].decode().rstrip() for row, values in records.items())
    if stored and not bad and kind != "zst":  # pyarrow writes Zstandard without a checksum
        assert [record["text"].encode() + b"\n" for record in records.values()] == lines


def test_a_parquet_file_without_a_footer_is_one_bad_row(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 this is no Parquet PAR1")
    records, bad = read(find_inputs(str(path))[0])
    assert "from row 1 and byte 0 on: cannot read " in rest_of(records, bad).reason


def test_a_broken_page_ends_its_row_groups_alone(tmp_path):
    texts = [f"{i * 7919 % 1000:x} text" for i in range(1000)]
    pq.write_table(
        pa.table({"text": texts}),
        path := tmp_path / "a.parquet",
        row_group_size=250,
        write_page_checksum=True,
    )
    column = pq.read_metadata(path).row_group(1).column(0)
    stored = bytearray(path.read_bytes())
    place = column.dictionary_page_offset + 40
    stored[place : place + 8] = bytes(byte ^ 0xFF for byte in stored[place : place + 8])
    path.write_bytes(stored)
    records, bad = read(find_inputs(str(path))[0], target_bytes=1)
    [rest] = bad.values()
    assert rest.rest
    assert rest.row == 251
    assert {row: values["text"] for row, values in records.items()} == {
        row: text for row, text in enumerate(texts, 1) if not 250 < row <= 500
    }
    records, bad = read(find_inputs(str(path))[0], target_bytes=1 << 20)
    assert (len(records), rest_of(records, bad).row) == (250, 251)


def test_a_parquet_value_that_does_not_fit_is_a_bad_row(tmp_path):
    pq.write_table(pa.table({"text": ["1", "b", None, "4"]}), tmp_path / "a.parquet")
    file = find_inputs(str(tmp_path))[0]
    records, bad = read(file, pa.schema([("text", pa.int64())]))
    assert records == {1: {"text": 1}, 3: {"text": None}, 4: {"text": 4}}
    assert bad[2].record == b'{"text":"b"}'
    assert "a.parquet: column 'text' is string and does not fit int64" in bad[2].reason


def test_lists_of_a_fixed_size_may_be_null(tmp_path):
    """Arrow cannot read what it has written here."""
    pairs = pa.array([[1.0, 2.0], None, [None, 3.0]], pa.list_(pa.float32(), 2))
    made = {
        "pair": pairs,
        "inside": pa.StructArray.from_arrays([pairs, pa.array(["a", "b", None])], ["pair", "name"]),
        "pairs": pa.array([[[1.0, 2.0], None], None, []], pa.list_(pa.list_(pa.float32(), 2))),
        "by_name": pa.array([[("a", [1.0, 2.0])], None, [("b", None)]], pa.map_(pa.string(), pairs.type)),
        "took": pa.array([1, None, 3], pa.duration("us")),  # a type of Arrow's that Parquet lacks
        "zoned": pa.array([1, None, 3], pa.timestamp("us", "Europe/Paris")),
        "sort": pa.array(["a", None, "b"]).dictionary_encode(),
    }
    pq.write_table(pa.table(made), tmp_path / "a.parquet")
    pq.write_table(pa.table({"sort": ["c"]}), tmp_path / "b.parquet")
    one, other = files = find_inputs(str(tmp_path))
    schema = infer_schema(files, ["sort"], None)
    expected = pa.table({**made, "sort": ["a", None, "b"]}).to_pylist()
    assert read(one, schema) == (dict(enumerate(expected, 1)), {})
    with parquet_writer(sink := io.BytesIO(), schema) as writer:
        for file in (one, other):
            writer.write_batch(next(read_split(next(split_file(file)), schema)).batch)
    assert pq.read_table(pa.BufferReader(sink.getvalue())).to_pylist() == [
        *expected,
        {**dict.fromkeys(made), "sort": "c"},
    ]


def test_whatever_a_decoder_raises_one_row_is_bad(tmp_path, monkeypatch):
    class Picky:
        def __init__(self, path, schema):
            pass

        def __call__(self, block):
            lines = bytes(block.buffer).split()
            if b"bad" in lines:
                raise RuntimeError("no such thing")
            return pa.record_batch({"text": [line.decode() for line in lines]}), np.arange(len(lines)), {}

    monkeypatch.setattr("pipelines.sources.files.reader.TextDecoder", Picky)
    file = write(tmp_path, "a.log", b"a\nb\nbad\nc\nbad\nd\n")
    records, bad = read(file, chunk_rows=100)
    assert {row: values["text"] for row, values in records.items()} == {1: "a", 2: "b", 4: "c", 6: "d"}
    assert {row: (one.reason, one.record) for row, one in bad.items()} == dict.fromkeys(
        (3, 5), ("RuntimeError: no such thing", b"bad")
    )


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


def test_a_row_without_an_end_ends_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.formats.row_boundaries.MAX_ROW_BYTES", 1 << 21)
    file = write(tmp_path, "a.csv", b'text,n\n1,2\n"' + b"x\n" * (3 << 20))
    records, bad = read(file, target_bytes=1 << 30)
    rest = rest_of(records, bad)
    assert records == {1: {"text": "1"}}
    assert "from row 2 and byte 11 on: " in rest.reason
    assert "a.csv has a row of more than" in rest.reason
    assert "never closed" in rest.reason


def test_a_chunk_is_the_same_whatever_way_its_parts_were_joined():
    empty = pa.RecordBatch.from_pylist([], SCHEMA)
    parts = chunks.join_parts(iter([]), SCHEMA, 3, 7)
    assert [(part.n_bytes, part.n_read, part.batch) for part in parts] == [(4, 0, empty)]
    assert list(chunks.join_parts(iter([]), SCHEMA, 7, 7)) == []


@pytest.mark.parametrize("name", ["gone.log", "gone.csv", "gone.jsonl.gz", "gone.log.zst", "gone.parquet"])
def test_a_file_that_is_gone_is_one_bad_row(tmp_path, name):
    (path := tmp_path / name).write_bytes(b"x")
    [file] = find_inputs(str(path))
    path.unlink()
    records, bad = read(file)
    assert not records
    assert f"from row 1 and byte 0 on: there is no file {path}" in rest_of(records, bad).reason


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ETIMEDOUT])
def test_what_is_no_fault_of_a_file_stays_an_error(tmp_path, monkeypatch, code):
    file = write(tmp_path, "a.log", b"x\n")
    monkeypatch.setattr("pipelines.sources.files.byte_stream.open_file", fails_with(OSError(code, "no")))
    with pytest.raises(StoreUnavailable, match=r"cannot read .*a\.log"):
        read(file)


def test_a_chunk_says_what_json_fields_no_column_holds(tmp_path):
    lines = [{"text": "a", "x": 1}, {"text": "b"}, {"text": "c", "x": 2, "y": 3}, {"text": "d", "y": None}]
    file = write(tmp_path, "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    [split] = split_file(file)
    chunks_read = list(read_split(split, SCHEMA, 2, all_fields=True))
    assert [chunk.left_out for chunk in chunks_read] == [{"x": 1}, {"x": 1, "y": 1}]
    assert [chunk.left_out for chunk in read_split(split, SCHEMA, 2)] == [{}, {}]


@pytest.mark.parametrize("target_bytes", [64, 1 << 20])
def test_a_file_that_becomes_shorter_says_where_it_ends(tmp_path, target_bytes):
    file = write(tmp_path, "a.log", b"0123456789\n" * 20)
    splits = list(split_file(file, target_bytes))
    Path(file.path).write_bytes(b"0123456789\n" * 10)
    bad = [row for split in splits for chunk in read_split(split, SCHEMA) for row in chunk.bad]
    assert all(row.rest and "has become shorter than" in row.reason for row in bad)
    assert min(row.row for row in bad) == 11


def set_time(file, seconds):
    """Let a file be written at another time than it was, however coarse the clock of its disk is."""
    os.utime(file.path, ns=(file.modified, file.modified + seconds * 10**9))


def test_lines_that_are_appended_do_not_matter(tmp_path):
    file = write(tmp_path, "a.log", b"0123456789\n" * 20)
    splits = list(split_file(file, 64))
    with Path(file.path).open("ab") as more:
        more.write(b"more\n")
    set_time(file, 1)
    chunks = [chunk for split in splits for chunk in read_split(split, SCHEMA)]
    assert (sum(chunk.n_read for chunk in chunks), [chunk.bad for chunk in chunks if chunk.bad]) == (20, [])


@pytest.mark.parametrize("line", [b"abcdefghij", b"abcdefghijkl"], ids=["same size", "larger"])
def test_a_file_that_is_written_anew_between_its_parts_is_no_mixture(line, tmp_path):
    file = write(tmp_path, "a.log", b"0123456789\n" * 20)
    first, *others = split_file(file, 64)
    assert sum(chunk.n_read for chunk in read_split(first, SCHEMA)) > 0
    Path(file.path).write_bytes((line + b"\n") * 20)
    set_time(file, 1)
    chunks = [chunk for split in others for chunk in read_split(split, SCHEMA)]
    assert sum(chunk.batch.num_rows for chunk in chunks) == 0
    assert all(row.rest and "was written anew" in row.reason for chunk in chunks for row in chunk.bad)
    assert sum(len(chunk.bad) for chunk in chunks) == len(others)


def test_a_file_that_is_written_anew_while_it_is_read_is_told(tmp_path):
    file = write(tmp_path, "a.log", b"0123456789\n" * 20)
    [split] = split_file(file, 1000)
    chunks = read_split(split, SCHEMA, 3)
    found = [next(chunks)]
    Path(file.path).write_bytes(b"abcdefghij\n" * 20)
    set_time(file, 1)
    found += chunks
    [bad] = [row for chunk in found for row in chunk.bad]
    assert bad.rest
    assert "rows of it that came out already may be of either version" in bad.reason
