"""Which columns a job has, and which types."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encoder.errors import InputError, TemplateError
from pipelines.sources.files.discovery import find_inputs
from pipelines.sources.files.reader import read_split
from pipelines.sources.files.schema import infer_schema
from pipelines.sources.files.splits import split_file


def infer(folder, wanted=(), keep=None):
    return infer_schema(find_inputs(str(folder)), wanted, keep)


def write_lines(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_parquet_types_are_promoted_over_files(tmp_path):
    pq.write_table(
        pa.table({"a": pa.array([1], pa.int32()), "b": pa.array(["x"]).dictionary_encode()}),
        tmp_path / "1.pq",
    )
    pq.write_table(pa.table({"a": pa.array([1], pa.int64()), "c": pa.array([None])}), tmp_path / "2.pq")
    assert infer(tmp_path) == pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.string())])


def test_a_conflict_names_file_column_and_types_but_only_where_the_column_is_needed(tmp_path):
    pq.write_table(pa.table({"a": [1], "m": ["x"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": ["x"], "m": ["x"]}), tmp_path / "2.parquet")
    with pytest.raises(InputError, match=r"column 'a' is string in .*2\.parquet but int64 in .*1\.parquet"):
        infer(tmp_path)
    assert infer(tmp_path, ["m"], []) == pa.schema([("m", pa.string())])


def test_csv_and_text_columns_are_strings(tmp_path):
    (tmp_path / "a.csv").write_text('id,"na\nme"\n1,2\n')
    (tmp_path / "b.log").write_text("1\n")
    assert infer(tmp_path) == pa.schema([("id", pa.string()), ("na\nme", pa.string()), ("text", pa.string())])
    (tmp_path / "a.csv").write_text("id,id\n")
    with pytest.raises(InputError, match=r"a\.csv has two columns 'id'"):
        infer(tmp_path)
    (tmp_path / "a.csv").write_bytes(b"id,\xff\n")
    with pytest.raises(InputError, match=r"header of .*a\.csv is not UTF-8"):
        infer(tmp_path)


def test_json_types_are_those_of_most_values(tmp_path):
    write_lines(
        tmp_path / "a.jsonl",
        {
            "i": 1,
            "f": 1,
            "t": "2026-01-01",
            "b": True,
            "n": None,
            "l": [1],
            "o": {"x": 1},
            "big": 2**63,
            "e": {},
        },
        {
            "i": -5,
            "f": 1.5,
            "t": "2026-01-02T00:00:00Z",
            "odd": 1,
            "l": [None, 2.5],
            "o": {"y": []},
            "e": {"z": {}},
        },
        {"odd": "a", "huge": 2**70},
        {"odd": "b", "late": "c"},
    )
    assert infer(tmp_path) == pa.schema(
        [
            ("i", pa.int64()), ("f", pa.float64()), ("t", pa.string()), ("b", pa.bool_()), ("n", pa.string()),
            ("l", pa.list_(pa.float64())),
            ("o", pa.struct([("x", pa.int64()), ("y", pa.list_(pa.string()))])),
            ("big", pa.uint64()), ("odd", pa.string()), ("huge", pa.decimal128(38, 0)), ("late", pa.string()),
        ]
    )  # fmt: skip


def test_the_job_has_what_is_kept_and_what_the_template_needs(tmp_path):
    write_lines(
        tmp_path / "a.jsonl", {"a": 1, "user": {"name": "x", "age": 1}, "b": "x", "c.d": "x", "c": {"d": 1}}
    )
    assert infer(tmp_path, ["user.name", "c.d"], ["b", "a"]) == pa.schema(
        [
            ("b", pa.string()),
            ("a", pa.int64()),
            ("user", pa.struct([("name", pa.string())])),
            ("c.d", pa.string()),
        ]
    )
    assert infer(tmp_path, ["b"], ["b"]).names == ["b"]
    assert infer(tmp_path, ["user.name"], ["user"]).field("user").type.num_fields == 2
    assert infer(tmp_path, ["user.name"]).names == ["a", "user", "b", "c.d", "c"]


def test_a_field_that_the_heads_do_not_show_is_searched_for(tmp_path):
    for name in "abc":
        write_lines(tmp_path / f"{name}.jsonl", *({"x": "y" * 1000} for _ in range(1500)))
    assert infer(tmp_path, ["x"]).names == ["x"]
    with (tmp_path / "b.jsonl").open("a") as file:
        file.write(
            '{"note": "größe rare", "u": {"größe": 2}}\n'
            + json.dumps({"u": {"größe": 2}, "rare": [1]})
            + "\n"
        )
    assert infer(tmp_path, ["u.größe"], ["rare"]) == pa.schema(
        [("rare", pa.list_(pa.int64())), ("u", pa.struct([("größe", pa.int64())]))]
    )


def test_a_field_that_no_record_has_is_refused_with_those_there_are(tmp_path):
    write_lines(tmp_path / "a.jsonl", {"user": {"name": 1}}, {f"f{i}": i for i in range(30)})
    with pytest.raises(
        TemplateError,
        match=r"no record has the field 'user\.nam': use one of user, user\.name, f0, .* f17 and 12 more",
    ):
        infer(tmp_path, ["user.nam"])
    with pytest.raises(TemplateError, match="no record has the field 'gone'"):
        infer(tmp_path, [], ["gone"])
    with pytest.raises(TemplateError, match=r"no record has the field 'user\.name'"):
        infer(tmp_path, [], ["user.name"])


def test_lines_that_are_no_objects_are_refused_before_any_work(tmp_path):
    (tmp_path / "a.json").write_text('[\n{"a": 1},\n{"a":\n2}\n]\n')
    with pytest.raises(InputError, match=r"no line at the head of .*a\.json is a JSON object"):
        infer(tmp_path)


def test_bad_lines_in_the_sample_do_not_matter(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'\xff\n\n{"a":\n[]\n{"a": 1}\n')
    assert infer(tmp_path) == pa.schema([("a", pa.int64())])


def test_files_of_several_formats_make_one_job(tmp_path):
    write_lines(tmp_path / "a.jsonl", {"text": "j", "n": 1})
    (tmp_path / "b.csv").write_text("text\nc\n")
    (tmp_path / "c.log").write_text("t\n")
    pq.write_table(
        pa.table({"n": pa.array([2], pa.int32()), "text": pa.array(["p"], pa.large_string())}),
        tmp_path / "d.pq",
    )
    files = find_inputs(str(tmp_path))
    schema = infer_schema(files, ["text"], None)
    assert dict(zip(schema.names, schema.types, strict=True)) == {"text": pa.large_string(), "n": pa.int64()}
    rows = [
        row
        for file in files
        for split in split_file(file)
        for chunk in read_split(split, schema)
        for row in chunk.batch.to_pylist()
    ]
    assert [(row["text"], row["n"]) for row in rows] == [("j", 1), ("c", None), ("t", None), ("p", 2)]
