"""Which columns a job has, and which types."""

import json

import numpy as np
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
    with pytest.raises(
        InputError, match=r"a\.json is a JSON array: write one object a line, as jq -c '\.\[\]'"
    ):
        infer(tmp_path)
    (tmp_path / "a.json").write_text('{\n"a": 1\n}\n')
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


def micros(*texts):
    return pa.array([np.datetime64(text, "us") for text in texts], pa.timestamp("us"))


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        (pa.array([0], pa.timestamp("ns")), micros("2026-01-01", "9999-12-31"), "9999-12-31"),
        (pa.array([0.5]), pa.array([0, 2**53 + 1]), "9007199254740993"),
        (pa.array([-1]), pa.array([0, 2**63], pa.uint64()), "9223372036854775808"),
    ],
)
def test_values_beyond_the_type_of_all_files_are_found_before_the_job(tmp_path, one, other, says):
    pq.write_table(pa.table({"x": one}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"x": other}), tmp_path / "2.parquet")
    with pytest.raises(InputError) as refused:
        infer(tmp_path)
    for part in ("column 'x'", str(other.type), "2.parquet", says, str(one.type), "two jobs"):
        assert part in str(refused.value)
    assert infer(tmp_path, keep=[]) == pa.schema([])
    for number, values in ((1, one), (2, other)):
        inside = pa.StructArray.from_arrays([pa.nulls(len(values)), values], ["n", "x"])
        pq.write_table(pa.table({"s": inside}), tmp_path / f"{number}.parquet")
    with pytest.raises(InputError, match=r"column 's\.x' is .*2\.parquet with the value"):
        infer(tmp_path)
    pq.write_table(pa.table({"x": one}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"x": other[:1]}), tmp_path / "2.parquet")
    assert infer(tmp_path).field("x").type == one.type


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.int64(), pa.string()),
        (pa.timestamp("us"), pa.string()),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
        (pa.decimal128(10, 2), pa.float64()),
        (pa.struct([("a", pa.int64())]), pa.struct([("a", pa.string())])),
        (pa.struct([("a", pa.int64())]), pa.int64()),
        (pa.list_(pa.int64()), pa.list_(pa.string())),
        (pa.list_(pa.int64()), pa.int64()),
        (pa.bool_(), pa.int64()),
        (pa.string(), pa.binary()),
        (pa.list_(pa.struct([("a", pa.string())])), pa.list_(pa.struct([("a", pa.binary())]))),
    ],
)
def test_types_without_a_common_one_are_refused_whatever_comes_first(tmp_path, one, other):
    for first, second in ((one, other), (other, one)):
        pq.write_table(pa.table({"x": pa.nulls(1, first)}), tmp_path / "1.parquet")
        pq.write_table(pa.table({"x": pa.nulls(1, second)}), tmp_path / "2.parquet")
        with pytest.raises(InputError) as refused:
            infer(tmp_path)
        names = (str(kind).replace("element", "item") for kind in (first, second))
        for part in ("'x'", "1.parquet", "2.parquet", *names, "two jobs"):
            assert part in str(refused.value).replace("element", "item")


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (pa.null(), pa.int64(), pa.int64()),
        (pa.null(), pa.null(), pa.string()),
        (pa.int32(), pa.int64(), pa.int64()),
        (
            pa.struct([("a", pa.int64())]),
            pa.struct([("b", pa.string())]),
            pa.struct([("a", pa.int64()), ("b", pa.string())]),
        ),
        (pa.struct([("a", pa.null())]), pa.struct([("a", pa.float64())]), pa.struct([("a", pa.float64())])),
    ],
)
def test_types_with_a_common_one_are_read(tmp_path, one, other, both):
    pq.write_table(pa.table({"x": pa.nulls(1, one)}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"x": pa.nulls(1, other)}), tmp_path / "2.parquet")
    files = find_inputs(str(tmp_path))
    schema = infer_schema(files, [], None)
    assert schema.field("x").type == both
    chunks = [chunk for file in files for split in split_file(file) for chunk in read_split(split, schema)]
    assert [chunk.batch.to_pylist() for chunk in chunks] == [[{"x": None}]] * 2


def test_a_file_that_lacks_the_text_or_spells_a_column_otherwise_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("id,text\n1,a\n")
    (tmp_path / "b.csv").write_text("id,message\n1,a\n")
    with pytest.raises(InputError, match=r"b\.csv has no column 'text', only id, message"):
        infer(tmp_path, ["text"])
    assert infer(tmp_path, ["id"], ["text"]).names == ["text", "id"]
    (tmp_path / "b.csv").write_text("ID,text\n1,a\n")
    with pytest.raises(InputError, match=r"column 'ID' of .*b\.csv is 'id' in .*a\.csv: rename"):
        infer(tmp_path, ["text"])
    assert infer(tmp_path, ["text"], ["text"]).names == ["text"]
    (tmp_path / "a.csv").write_text("id,ID,text\n1,2,a\n")
    (tmp_path / "b.csv").write_text("ID,id,text\n1,2,a\n")
    assert infer(tmp_path, ["text"]).names == ["id", "ID", "text"]


def test_of_damaged_files_the_others_tell_the_columns(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"no Parquet")
    (tmp_path / "b.jsonl.gz").write_bytes(b"no archive")
    (tmp_path / "c.csv.gz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"a\.parquet"):
        infer(tmp_path)
    write_lines(tmp_path / "d.jsonl", {"text": "a"})
    assert infer(tmp_path) == pa.schema([("text", pa.string())])
    with pytest.raises(InputError, match=r"a\.parquet"):
        infer_schema(find_inputs(str(tmp_path)), ["text"], None, strict=True)
    with pytest.raises(TemplateError, match=r"has the field 'n': use one of text \(not read: .*parquet"):
        infer(tmp_path, ["n"])


def test_files_of_nothing_have_columns_only_where_that_is_asked_for(tmp_path):
    for name in ("a.jsonl", "b.csv", "c.parquet", "d.jsonl.gz"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="the input has no records, so its columns are unknown"):
        infer(tmp_path, ["text"])
    schema = infer_schema(find_inputs(str(tmp_path)), ["user.name"], None, may_be_empty=True)
    assert schema == pa.schema([("user.name", pa.string())])


def test_columns_that_are_nested_too_deep_are_refused(tmp_path):
    kind = pa.int64()
    for _ in range(61):
        kind = pa.list_(kind)
    pq.write_table(pa.table({"x": pa.nulls(1, kind), "text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"'x' of .*a\.parquet is nested 61 levels deep, and at most 60"):
        infer(tmp_path)
    assert infer(tmp_path, ["text"], ["text"]).names == ["text"]
