"""Texts out of files of records."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encoder.errors import TemplateError
from pipelines.records.template import TextTemplate
from pipelines.sources.files.discovery import find_inputs
from pipelines.sources.files.schema import infer_schema
from pipelines.sources.files.texts import iterate_texts

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


def test_a_field_that_no_record_has_is_refused(tmp_path):
    write_lines(tmp_path / "a.jsonl")
    with pytest.raises(TemplateError, match="no record has the field 'city'"):
        texts_of(tmp_path, "{city}")
