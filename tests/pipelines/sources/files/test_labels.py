"""Labelled records of every format and type of label."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encoder.errors import InputError, TemplateError
from pipelines.records.template import TextTemplate
from pipelines.sources.files.discovery import find_inputs
from pipelines.sources.files.labels import (
    LabelField,
    LabelledText,
    is_several,
    iterate_labelled,
    labelled_schema,
)


def read(path, label="label", separator=None, text="text"):
    template, field, files = TextTemplate.parse(text), LabelField(label, separator), find_inputs(str(path))
    schema = labelled_schema(files, template, field)
    told = []
    found = list(iterate_labelled(files, schema, template, field, lambda *chunk: told.append(chunk)))
    assert sum(chunk[0] for chunk in told) == sum(file.size for file in files)
    return found, is_several(schema, field)


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
