"""Files of any dialect and encoding are read, and what was guessed is said."""

import json

import pytest

from encoder.errors import InputError, TemplateError
from pipelines.formats.dialect import GUESSED, Dialect
from pipelines.sources.files.dialects import find_with_dialects
from pipelines.sources.files.reader import read_split
from pipelines.sources.files.schema import infer_schema
from pipelines.sources.files.splits import split_file

ROWS = [("1", "Grüße, du"), ("2", "a\r\nb"), ("3", 'say "hi"')]


def read(path, given=GUESSED, *, wanted=("text",), keep=None, target_bytes=1 << 20):
    """The texts and bad rows by their row numbers, and what was said."""
    said = []
    files = find_with_dialects(str(path), None, given, said.append)
    schema = infer_schema(files, wanted, keep)
    texts, bad = {}, {}
    for file in files:
        for split in split_file(file, target_bytes):
            for chunk in read_split(split, schema):
                texts |= dict(zip(chunk.rows.tolist(), chunk.batch.column("text").to_pylist(), strict=True))
                bad |= {row.row: (row.reason, row.record) for row in chunk.bad}
    return texts, bad, [line.partition(": ")[2] for line in said]


def csv_text(delimiter, doubled='""'):
    quoted = ('"' + text.replace('"', doubled) + '"' for _, text in ROWS)
    lines = [f"id{delimiter}text", *(f"{i}{delimiter}{text}" for i, text in enumerate(quoted, 1))]
    return "".join(f"{line}\r\n" for line in lines)


@pytest.mark.parametrize("target_bytes", [1, 1 << 20])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_csv_is_read_by_its_dialect_however_it_is_split(tmp_path, delimiter, encoding, target_bytes):
    (tmp_path / "a.csv").write_bytes(csv_text(delimiter).encode(encoding))
    texts, bad, said = read(tmp_path, target_bytes=target_bytes)
    assert (texts, bad) == ({int(i): text for i, text in ROWS}, {})
    shown = {",": "", "\t": "tab"}.get(delimiter, f"'{delimiter}'")
    assert ("delimiter" in said[0] if said else False) == (delimiter != ",")
    assert all(shown in line and "set --" in line for line in said)


@pytest.mark.parametrize("target_bytes", [1, 1 << 20])
def test_sparks_escapes_and_encodings_that_the_user_names(tmp_path, target_bytes):
    (tmp_path / "a.csv").write_bytes(csv_text(";", r"\"").encode("cp1252"))
    texts, bad, said = read(tmp_path, Dialect.parse(encoding="cp1252"), target_bytes=target_bytes)
    assert (texts, bad) == ({int(i): text for i, text in ROWS}, {})
    assert said == ["guessed delimiter ';', escape '\\'; to change it, set --delimiter, --escape"]


def test_a_quote_in_tsv_is_plain_and_swallows_no_rows(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b'id\ttext\n1\t"hello\n2\tfoo\n3\t"x" y\n4\tb"\n5\tz\n6\tw\n')
    texts, bad, said = read(tmp_path)
    assert (list(texts.values()), bad, said) == (['"hello', "foo", '"x" y', 'b"', "z", "w"], {}, [])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_lines_of_text_and_json_are_read_in_wide_encodings(tmp_path, name, encoding):
    lines = ["Grüße", "zwei", "x\0y"]
    data = "\n".join(json.dumps({"text": line}, ensure_ascii=False) for line in lines)
    if name == "a.txt":
        lines = lines[:2]
        data = "\r\n".join(lines)
    (tmp_path / name).write_bytes(data.encode(encoding))
    texts, bad, said = read(tmp_path)
    assert (list(texts.values()), bad) == (lines, {})
    name = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}.get(encoding, encoding)
    assert said == [f"guessed encoding {name}; to change it, set --encoding"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b'id,text\r1,x\r2,"a\rb"\r'),
        ("a.txt", b"x\ra\\rb\r"),
        ("a.jsonl", b'{"text":"x"}\r{"text":"a\\rb"}'),
    ],
)
@pytest.mark.parametrize("target_bytes", [1, 1 << 20])
def test_rows_may_end_with_carriage_returns_alone(tmp_path, name, data, target_bytes):
    (tmp_path / name).write_bytes(data)
    texts, bad, said = read(tmp_path, target_bytes=target_bytes)
    assert (texts, bad) == ({1: "x", 2: "a\\rb" if name == "a.txt" else "a\rb"}, {})
    assert said == ["guessed line breaks of carriage returns"]


def test_bytes_that_the_encoding_lacks_are_bad_rows(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a\x81\nb\n")
    texts, bad, _ = read(tmp_path, Dialect.parse(encoding="cp1252"))
    assert (texts, bad[1][0]) == ({2: "b"}, "not cp1252: byte 0x81 at character 1")
    (tmp_path / "a.txt").write_bytes(b"a\xe9\nb\n")
    assert read(tmp_path)[1][1][0] == (
        "not UTF-8: byte 0xe9 at position 1. Set --encoding if the file is in another encoding, as in cp1252"
    )
    (tmp_path / "a.txt").unlink()
    (tmp_path / "a.csv").write_bytes("id,täxt\n".encode("cp1252"))
    with pytest.raises(
        InputError, match="is not UTF-8: byte 0xe4 at position 4: set `encoding`, as in cp1252"
    ):
        read(tmp_path)


@pytest.mark.parametrize(
    ("data", "given", "flag"),
    [
        (b"id^text\n1^x\n", {}, "'^'"),
        (b"id;text\n1;x\n", {"delimiter": ","}, "';'"),
        (b"id\ttext\n1\tx\n", {"delimiter": ","}, "tab"),
        (b"id\x01text\n1\x01x\n", {}, r"'\x01'"),
    ],
)
def test_a_wrong_delimiter_is_named(tmp_path, data, given, flag):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(TemplateError) as found:
        read(tmp_path, Dialect.parse(**given))
    assert "the input has no column 'text'. Found one column named 'id" in str(found.value)
    assert str(found.value).endswith(f"Set `delimiter` {flag}")


def test_a_space_before_a_name_is_shown(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"id, text\n1, x\n")
    with pytest.raises(TemplateError, match=r"no record has the field 'text': use one of id, ' text'$"):
        read(tmp_path, Dialect.parse())


def test_names_may_be_empty_and_repeated_where_they_are_not_needed(tmp_path):
    (tmp_path / "a.csv").write_bytes(b",text,id,id\n1,x,2,3\n")
    with pytest.raises(
        InputError, match="has two columns 'id': rename one of them, or leave both out with `keep`"
    ):
        read(tmp_path)
    assert read(tmp_path, keep=["column_1"])[0] == {1: "x"}


def test_rows_with_other_fields_and_quotes_have_their_position(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'id,text\n1,x\n2\n3,y,z\n\n5,"q" r\n6,a"b"\n7,ok\n')
    texts, bad, _ = read(tmp_path, target_bytes=1)
    assert texts == {1: "x", 6: 'a"b"', 7: "ok"}
    assert {row: record for row, (_, record) in bad.items()} == {2: b"2", 3: b"3,y,z", 5: b'5,"q" r'}
    assert [bad[row][0] for row in (2, 3)] == [f"{n} fields where the header has 2" for n in (1, 3)]


def test_one_line_says_what_was_guessed_of_many_files(tmp_path):
    for name in ("a.csv", "b.csv", "c.csv"):
        (tmp_path / name).write_text("id;text\n1;x\n")
    said = []
    find_with_dialects(str(tmp_path), None, GUESSED, said.append)
    assert said == [f"{tmp_path}/a.csv and 2 more: guessed delimiter ';'; to change it, set --delimiter"]
