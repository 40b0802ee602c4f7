"""Sets in their files: which records of them a model is measured on."""

import json
from pathlib import Path

import pytest

from encoder.errors import InputError, TemplateError
from pipelines.cli.evaluation import sets
from pipelines.cli.evaluation.options import SetOptions, StandardSets
from pipelines.cli.evaluation.rows import complete_rows, read_rows


@pytest.fixture
def told():
    return []


def test_records_without_a_label_are_no_class_of_their_own(tmp_path, told):
    lines = [f"record {k},{'' if k % 3 else 'abc'[k % 2]}" for k in range(60)]
    (tmp_path / "a.csv").write_text("\n".join(["message,kind", *lines]))
    path = str(tmp_path / "a.csv")
    records = SetOptions(records=path, text="message", label="kind").read(told.append).records
    assert sorted(records.labels) == ["a"] * 10 + ["b"] * 10
    assert told == [f"{path}: skipped 0 unreadable rows and 40 without message or kind"]


@pytest.mark.parametrize("spec", ["{path}", "{path},{path}"])
def test_a_classification_has_no_blank_class_either(tmp_path, told, spec):
    lines = [f"record {k},{('', 'a', 'b')[k % 3]}" for k in range(60)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *lines]))
    files = SetOptions(standard=StandardSets(classification=[spec.format(path=tmp_path / "a.csv")]))
    (found,) = files.read(told.append).classifications
    assert set(found.train.labels) == set(found.test.labels) == {"a", "b"}
    assert all("20 without text or label" in line for line in told)


def test_of_one_file_no_text_is_learnt_from_and_asked_about(tmp_path, told):
    lines = [f"record {k % 20} ,{'ab'[k % 2] if k < 20 else 'b'}" for k in range(60)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["text,label", *lines, "record 0,b"]))
    (found,) = SetOptions(standard=StandardSets(classification=[str(path)])).read(told.append).classifications
    assert not set(found.train.texts) & set(found.test.texts)
    assert len(found.train.texts) + len(found.test.texts) == 20
    assert sorted(found.test.labels) == ["a"] * 5 + ["b"] * 5  # as each text was labelled first
    assert told == [f"{path}: skipped 41 records with a repeated text"]
    (given,) = (
        SetOptions(standard=StandardSets(classification=[f"{path},{path}"])).read(told.append).classifications
    )
    assert len(given.train.texts) == len(given.test.texts) == 61


def search(folder, corpus, qrels):
    (folder / "corpus.csv").write_text("\n".join(["id,title,text", *corpus]))
    (folder / "queries.csv").write_text("id,text\nq1,disk full\nq2,card lost\nq1,again\n")
    (folder / "qrels.csv").write_text("\n".join(["query-id,corpus-id,score", *qrels]))
    return SetOptions(standard=StandardSets(retrieval=[str(folder)]))


def test_answers_that_are_in_no_corpus_are_counted(tmp_path, told):
    corpus = ["p1,,no space", "p2,blocked,the card", "p1,,other"]
    qrels = ["q1,p1,1", "q1,p8,2", "q2,p9,1", "q2,p2,0", "q3,p7,1"]
    (found,) = search(tmp_path, corpus, qrels).read(told.append).retrievals
    assert found.corpus == {"p1": "no space", "p2": "blocked the card"}
    assert found.queries == {"q1": "disk full", "q2": "card lost"}
    assert told == [
        f"{tmp_path}/corpus.*: skipped 1 records with a repeated id",
        f"{tmp_path}/queries.*: skipped 1 records with a repeated id",
        f"{tmp_path}/qrels.*: 2 of 3 answers are not in {tmp_path}/corpus.* and count as not found",
    ]


@pytest.mark.parametrize("qrels", [["q1,p8,2"], ["q1,p8,2", "q2,p1,0"], ["q1,p8,2", "q3,p1,1"]])
def test_a_corpus_without_any_answer_is_refused(tmp_path, told, qrels):
    files = search(tmp_path, ["p1,,no space", "p2,,a card"], qrels)
    with pytest.raises(InputError, match=r"no passage of \S+/qrels\.\* is in \S+/corpus\.\*: do the files"):
        files.read(told.append)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("s3://b/pairs.csv.gz?endpoint_override=http://secret", "pairs"),
        ("sets/mine/corpus.jsonl", "mine"),
        ("train.csv", "train"),
    ],
)
def test_a_set_is_called_by_its_file_or_folder(pattern, name):
    assert sets._name(pattern) == name


def write(path, *rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_what_cannot_be_read_or_lacks_a_field_is_counted(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "a", "score": 1}, {"text": "b"}, {"text": "", "score": 2})
    with Path(path).open("a") as file:
        file.write("\n{no JSON")
    told = []
    assert list(complete_rows(path, ["text", "score"], told.append)) == [("a", "1"), ("", "2")]
    assert told == [f"{path}: skipped 1 unreadable rows and 1 without text or score"]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_blank_label_is_none(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    if ending == "csv":
        path.write_text('text,title\na,x\nb,\nc," "\n')
    else:
        write(path, {"text": "a", "title": "x"}, {"text": "b", "title": ""}, {"text": "c", "title": None})
    told = []
    assert list(complete_rows(str(path), ["text", "title"], told.append, label="title")) == [("a", "x")]
    assert told == [f"{path}: skipped 0 unreadable rows and 2 without text or title"]


def test_a_passage_may_lack_its_title_and_its_text(tmp_path):
    rows = [{"_id": "1", "title": None, "text": "a"}, {"_id": "2", "title": "b", "text": ""}]
    path = write(tmp_path / "a.jsonl", *rows)
    choices = [["id", "text"], ["_id", "title", "text"]]
    assert read_rows(path, choices, print) == [("1", "", "a"), ("2", "b", "")]
    with pytest.raises(TemplateError, match="no record has the field 'nope'"):
        read_rows(path, [["id"], ["nope"]], print)


def test_no_complete_record_is_an_error_that_says_what_is_needed(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,\n")
    with pytest.raises(InputError, match=r"a\.csv has no complete record: each needs text and label"):
        read_rows(str(tmp_path / "a.csv"), [["text", "label"]], lambda _: None, label="label")


def test_a_score_that_is_not_a_number_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("sentence1,sentence2,score\na,b,high\n")
    with pytest.raises(InputError, match=r"a\.csv: the score 'high' is not a number"):
        SetOptions(standard=StandardSets(sts=[str(tmp_path / "a.csv")])).read(print)
