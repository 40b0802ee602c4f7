"""Texts and labels from files of every format."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encoder.errors import InputError, TemplateError, UnreadableFile
from pipelines.records.template import TextTemplate
from pipelines.sources.files.discovery import find_inputs
from pipelines.sources.files.schema import infer_schema
from pipelines.sources.files.texts import (
    LabelField,
    LabelledText,
    is_multi_label,
    iterate_labelled,
    iterate_texts,
    labelled_schema,
)

ROWS = [{"merchant": f"shop {i}", "user": {"city": "Bergen" if i % 2 else None}} for i in range(50)]
EXPECTED = [f"shop {i} in {'Bergen' if i % 2 else ''}" for i in range(50)]


def texts_of(pattern, text):
    template, files, seen = TextTemplate.parse(text), find_inputs(str(pattern)), []
    schema = infer_schema(files, template.fields, ())
    return list(iterate_texts(files, schema, template, lambda *told: seen.append(told))), seen, files


def write_lines(path):
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def write_compressed(path):
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))


def write_parquet(path):
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=20)


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.jsonl", write_lines), ("a.jsonl.gz", write_compressed), ("a.parquet", write_parquet)],
)
def test_texts_are_those_of_the_template_in_order(tmp_path, name, write):
    write(tmp_path / name)
    texts, seen, files = texts_of(tmp_path, "{merchant} in {user.city}")
    assert texts == EXPECTED
    assert sum(n_bytes for n_bytes, _, _ in seen) == sum(file.size for file in files)
    assert sum(records for _, records, _ in seen) == 50


def test_lines_of_text(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert texts_of(tmp_path / "a.txt", "text")[0] == ["one", "two"]


def test_rows_that_cannot_be_read_are_passed_over_and_counted(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": "x"}\n{"a": oops\n{"a": null}\n')
    texts, seen, _ = texts_of(tmp_path / "a.jsonl", "a")
    assert texts == ["x", None]
    assert seen[0][1:] == (2, 1)


def test_the_rest_of_a_damaged_file_is_passed_over_with_a_warning(tmp_path, caplog):
    packed = gzip.compress(b"".join(b"%d line\n" % (i * 7919) for i in range(1000)))
    (tmp_path / "a.log.gz").write_bytes(packed[:-20])
    (tmp_path / "b.log").write_text("z\n")
    files = find_inputs(str(tmp_path))
    schema, template = pa.schema([("text", pa.string())]), TextTemplate.parse("text")
    found = list(iterate_texts(files, schema, template, lambda *_: None))
    assert found[-1] == "z"
    assert 900 < len(found) <= 1001
    [message] = caplog.messages
    assert message.startswith(f"{tmp_path}/a.log.gz: the rest of the file cannot be read, from row ")
    with pytest.raises(UnreadableFile, match=r"no file can be read to its end, as .*a\.log\.gz"):
        list(iterate_texts(files[:1], schema, template, lambda *_: None))


def test_a_field_that_no_record_has_is_refused(tmp_path):
    write_lines(tmp_path / "a.jsonl")
    with pytest.raises(TemplateError, match="no record has the field 'city'"):
        texts_of(tmp_path, "{city}")


def read(path, label="label", separator=None, text="text"):
    template, field, files = TextTemplate.parse(text), LabelField(label, separator), find_inputs(str(path))
    schema = labelled_schema(files, template, field)
    told = []
    found = list(iterate_labelled(files, schema, template, field, lambda *chunk: told.append(chunk)))
    assert sum(chunk[0] for chunk in told) == sum(file.size for file in files)
    return found, is_multi_label(schema, field)


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_record_has_a_label_or_none(tmp_path):
    rows = (
        {"text": "a", "label": "x"},
        {"text": "b", "label": None},
        {"label": "y"},
        {"text": "c", "label": ""},
        {"text": "d", "label": " "},
    )
    found, several = read(write(tmp_path / "a.jsonl", *rows))
    assert found == [LabelledText("a", ("x",)), *(LabelledText(text, None) for text in "bcd")]
    assert not several


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([1, 0], [("1",), ("0",)]),
        ([True, False], [("true",), ("false",)]),
        (["x", "y"], [("x",), ("y",)]),
        ([["x", "y", "x"], []], [("x", "y"), ()]),
        ([[1], None], [("1",), None]),
        ([["x", None], [None]], [("x",), ()]),
        ([[True, None]], [("true",)]),
        ([[True], [False]], [("true",), ("false",)]),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_labels_of_each_type(values, labels, kind, tmp_path):
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        write(path, *({"text": "t", "label": value} for value in values))
    else:
        pq.write_table(pa.table({"text": ["t"] * len(values), "label": pa.array(values)}), path)
    found, several = read(path)
    assert [one.labels for one in found] == labels
    assert several == isinstance(values[0], list)


def test_a_separator_makes_several_labels_of_a_text(tmp_path):
    path = write(
        tmp_path / "a.jsonl", {"text": "t", "label": "x; y;x"}, {"text": "t", "label": ""}, {"text": "t"}
    )
    found, several = read(path, separator=";")
    assert [one.labels for one in found] == [("x", "y"), (), None]
    assert several


def test_a_label_may_lie_inside_and_csv_has_labels_too(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "t", "is": {"kind": "x"}})
    assert read(path, "is.kind")[0] == [LabelledText("t", ("x",))]
    (tmp_path / "b.csv").write_text("text,label\nt,x\n")
    assert read(tmp_path / "b.csv")[0] == [LabelledText("t", ("x",))]


def test_without_a_label_there_are_texts(tmp_path):
    (tmp_path / "a.log").write_text("one\ntwo\n")
    assert read(tmp_path / "a.log", None) == ([LabelledText("one", None), LabelledText("two", None)], False)


def test_what_is_no_label_is_refused(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "t", "label": 1.5, "deep": {"a": 1}})
    with pytest.raises(
        InputError, match="the label 'label' is double: it must be text, whole numbers or booleans"
    ):
        read(path)
    with pytest.raises(InputError, match="the label 'deep' is struct"):
        read(path, "deep")
    with pytest.raises(TemplateError, match="no record has the field 'nope'"):
        read(path, "nope")
