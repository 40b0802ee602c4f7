"""Which files a pattern names."""

import os
from pathlib import Path

import pytest

from encoder.errors import ConfigurationError, InputError
from pipelines.sources.files.discovery import InputFile, find_inputs
from pipelines.sources.files.filesystem import open_file

NAMES = [
    "a.jsonl", "b.json", "c.ndjson.gz", "d.csv", "d.TSV.zst", "e.log", "e 1.txt", "sub/f.parquet",
    "sub/deep/g.pq", "sub/é#%20?.log.zstd",
    "_SUCCESS", ".hidden.log", "_temporary/x.log", "sub/.crc/x.log", "[x].log",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        path = tmp_path / "in put" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "in put"


def found(folder, pattern, prefix=""):
    return [
        str(Path(file.path).relative_to(folder))
        for file in find_inputs(f"{prefix}{folder}/{pattern}".rstrip("/"))
    ]


def test_a_folder_is_read_with_all_below_it_but_hidden_names(folder):
    visible = sorted(name for name in NAMES if not any(part[0] in "_." for part in name.split("/")))
    assert found(folder, "") == visible


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.log", ["[x].log", "e.log"]),
        ("[ab].json*", ["a.jsonl", "b.json"]),
        ("[!a-c].*", ["d.TSV.zst", "d.csv", "e.log"]),
        ("?.csv", ["d.csv"]),
        ("**/*.p*", ["sub/deep/g.pq", "sub/f.parquet"]),
        ("sub/**", ["sub/deep/g.pq", "sub/f.parquet", "sub/é#%20?.log.zstd"]),
        ("s*/*/g.pq", ["sub/deep/g.pq"]),
        ("[x].log", ["[x].log"]),
        ("_temporary/*.log", ["_temporary/x.log"]),
        (".h*.log", [".hidden.log"]),
        ("sub/.crc", ["sub/.crc/x.log"]),
        ("e 1.txt", ["e 1.txt"]),
    ],
)
def test_globs_name_files(folder, pattern, names):
    assert found(folder, pattern) == names


def test_formats_and_compressions_come_from_extensions(folder):
    files = {Path(file.path).name: (file.format, file.compression) for file in find_inputs(str(folder))}
    assert files == {
        "a.jsonl": ("jsonl", None), "b.json": ("jsonl", None), "c.ndjson.gz": ("jsonl", "gz"),
        "d.csv": ("csv", None), "d.TSV.zst": ("csv", "zst"), "e.log": ("text", None),
        "e 1.txt": ("text", None),
        "f.parquet": ("parquet", None), "g.pq": ("parquet", None), "é#%20?.log.zstd": ("text", "zst"),
        "[x].log": ("text", None),
    }  # fmt: skip
    assert find_inputs(f"{folder}/d.TSV.zst")[0].usual_delimiter == "\t"
    assert find_inputs(f"{folder}/d.csv")[0].usual_delimiter == ","


def test_a_format_given_overrides_the_extension(folder):
    (folder / "data.gz").write_bytes(b"x")
    assert find_inputs(f"{folder}/data.gz", "jsonl") == [InputFile(f"{folder}/data.gz", 1, "jsonl", "gz")]
    assert {file.format for file in find_inputs(str(folder), "text")} == {"text"}


@pytest.mark.parametrize("encode", [str, lambda path: path.replace(" ", "%20")])
@pytest.mark.parametrize("name", ["e 1.txt", "**/*.log*", ""])
def test_file_uris_with_spaces_name_files_that_open(folder, encode, name):
    files = find_inputs(f"file://{encode(f'{folder}/{name}'.rstrip('/'))}")
    assert files
    for file in files:
        assert file.path.startswith("file:///")
        assert " " not in file.path
        with open_file(file.path) as source:
            assert source.read().decode() in NAMES
        assert find_inputs(file.path) == [file]


def test_relative_paths_become_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert find_inputs("*.csv")[0].path == f"{folder}/d.csv"
    assert find_inputs("sub")[0].path.startswith(f"{folder}/sub")


@pytest.mark.parametrize("pattern", ["nothing", "*.xyz", "no/folder/*.log", ""])
def test_nothing_found_names_the_pattern(folder, pattern, monkeypatch):
    empty = folder / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(InputError, match="no input files at"):
        find_inputs(pattern)


def test_an_unknown_extension_names_the_file_and_the_flag(folder):
    (folder / "sub" / "x.dat").touch()
    with pytest.raises(InputError, match=r"unknown extension of .*x\.dat: set --input-format"):
        find_inputs(str(folder))


def test_unknown_formats_and_schemes_are_refused(folder):
    with pytest.raises(
        ConfigurationError, match="unknown format 'xml': use one of parquet, jsonl, csv, text"
    ):
        find_inputs(str(folder), "xml")
    with pytest.raises(ConfigurationError, match="unknown scheme in 'ftp://x/y'"):
        find_inputs("ftp://x/y")
    (folder / "x.parquet.gz").touch()
    with pytest.raises(InputError, match="compressed Parquet"):
        find_inputs(f"{folder}/x.parquet.gz")


def test_a_file_to_which_links_lead_is_there_once(tmp_path):
    (folder := tmp_path / "in").mkdir()
    (folder / "b.log").write_bytes(b"x\n")
    (folder / "again").symlink_to(folder)
    (folder / "a.log").symlink_to("b.log")
    (folder / "nowhere.log").symlink_to("gone.log")
    (tmp_path / "c.log").write_bytes(b"y\n")
    (folder / "other.log").symlink_to(tmp_path / "c.log")
    (tmp_path / "way").symlink_to(folder)
    assert found(folder, "") == ["b.log", "other.log"]
    assert found(folder, "a*.log") == ["a.log"]
    assert found(tmp_path, "way") == ["way/b.log", "way/other.log"]


def test_a_name_that_is_no_text_is_named_and_may_be_passed_over(folder):
    Path(os.fsdecode(os.fsencode(folder / "sub") + b"/\xff.log")).touch()
    with pytest.raises(InputError, match=r"the name of the file b'.*\\xff\.log' is not UTF-8: rename it"):
        find_inputs(f"{folder}/sub")
    assert found(folder, "sub/*.parquet") == ["sub/f.parquet"]
    (folder / "sub" / "x.dat").touch()
    reasons = []
    assert len(find_inputs(f"{folder}/sub", skip=reasons.append)) == 3
    assert [str(reason).split(":")[0].rpartition("/")[2] for reason in reasons] == [
        "\\xff.log' is not UTF-8",
        "x.dat",
    ]


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.log")
    with pytest.raises(InputError, match=r"a\.log is a pipe or a device"):
        find_inputs(f"{tmp_path}/a.log")
