"""Rows of the files of sets: what is complete, and what is counted."""

import json
from pathlib import Path

import pytest

from encoder.errors import InputError, TemplateError
from pipelines.cli.set_rows import all_rows, complete_rows, first_that_fits, number


def write(path, *rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_what_cannot_be_read_or_lacks_a_field_is_counted(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "a", "score": 1}, {"text": "b"}, {"text": "", "score": 2})
    with Path(path).open("a") as file:
        file.write("\n{no JSON")
    told = []
    assert list(complete_rows(path, ["text", "score"], told.append)) == [("a", "1"), ("", "2")]
    assert told == [f"{path}: passed over 1 rows that cannot be read and 1 without text or score"]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_blank_label_is_none(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    if ending == "csv":
        path.write_text('text,title\na,x\nb,\nc," "\n')
    else:
        write(path, {"text": "a", "title": "x"}, {"text": "b", "title": ""}, {"text": "c", "title": None})
    told = []
    assert list(complete_rows(str(path), ["text", "title"], told.append, label="title")) == [("a", "x")]
    assert told == [f"{path}: passed over 0 rows that cannot be read and 2 without text or title"]


def test_a_passage_may_lack_its_title_and_its_text(tmp_path):
    rows = [{"_id": "1", "title": None, "text": "a"}, {"_id": "2", "title": "b", "text": ""}]
    path = write(tmp_path / "a.jsonl", *rows)
    choices = [["id", "text"], ["_id", "title", "text"]]
    assert first_that_fits(path, choices, print) == [("1", "", "a"), ("2", "b", "")]
    with pytest.raises(TemplateError, match="no record has the field 'nope'"):
        first_that_fits(path, [["id"], ["nope"]], print)


def test_no_complete_record_is_an_error_that_says_what_is_needed(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,\n")
    with pytest.raises(InputError, match=r"a\.csv has no complete record: each needs text and label"):
        all_rows(str(tmp_path / "a.csv"), ["text", "label"], lambda _: None, label="label")


def test_numbers_are_read_and_others_named():
    assert number("a.csv", "score", "1.5") == 1.5
    with pytest.raises(InputError, match=r"a\.csv: score 'high' is no number"):
        number("a.csv", "score", "high")
