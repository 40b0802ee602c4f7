"""Sets in their files: which records of them a model is measured on."""

import pytest

from encoder.errors import InputError
from pipelines.cli import evaluation_sets
from pipelines.cli.evaluation_sets import SetFiles


@pytest.fixture
def told():
    return []


def test_records_without_a_label_are_no_class_of_their_own(tmp_path, told):
    lines = [f"record {k},{'' if k % 3 else 'abc'[k % 2]}" for k in range(60)]
    (tmp_path / "a.csv").write_text("\n".join(["message,kind", *lines]))
    path = str(tmp_path / "a.csv")
    records = SetFiles(input=path, text="message", label="kind").read(told.append).records
    assert sorted(records.labels) == ["a"] * 10 + ["b"] * 10
    assert told == [f"{path}: passed over 0 rows that cannot be read and 40 without message or kind"]


@pytest.mark.parametrize("spec", ["{path}", "{path},{path}"])
def test_a_classification_has_no_blank_class_either(tmp_path, told, spec):
    lines = [f"record {k},{('', 'a', 'b')[k % 3]}" for k in range(60)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *lines]))
    files = SetFiles(classification=[spec.format(path=tmp_path / "a.csv")])
    (found,) = files.read(told.append).classifications
    assert set(found.train.labels) == set(found.test.labels) == {"a", "b"}
    assert all("20 without text or label" in line for line in told)


def test_of_one_file_no_text_is_learnt_from_and_asked_about(tmp_path, told):
    lines = [f"record {k % 20} ,{'ab'[k % 2] if k < 20 else 'b'}" for k in range(60)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["text,label", *lines, "record 0,b"]))
    (found,) = SetFiles(classification=[str(path)]).read(told.append).classifications
    assert not set(found.train.texts) & set(found.test.texts)
    assert len(found.train.texts) + len(found.test.texts) == 20
    assert sorted(found.test.labels) == ["a"] * 5 + ["b"] * 5  # as each text was labelled first
    assert told == [f"{path}: passed over 41 records whose text came before"]
    (given,) = SetFiles(classification=[f"{path},{path}"]).read(told.append).classifications
    assert len(given.train.texts) == len(given.test.texts) == 61


def search(folder, corpus, qrels):
    (folder / "corpus.csv").write_text("\n".join(["id,title,text", *corpus]))
    (folder / "queries.csv").write_text("id,text\nq1,disk full\nq2,card lost\nq1,again\n")
    (folder / "qrels.csv").write_text("\n".join(["query-id,corpus-id,score", *qrels]))
    return SetFiles(retrieval=[str(folder)])


def test_answers_that_are_in_no_corpus_are_counted(tmp_path, told):
    corpus = ["p1,,no space", "p2,blocked,the card", "p1,,other"]
    qrels = ["q1,p1,1", "q1,p8,2", "q2,p9,1", "q2,p2,0", "q3,p7,1"]
    (found,) = search(tmp_path, corpus, qrels).read(told.append).retrievals
    assert found.corpus == {"p1": "no space", "p2": "blocked the card"}
    assert found.queries == {"q1": "disk full", "q2": "card lost"}
    assert told == [
        f"{tmp_path}/corpus.*: passed over 1 records whose id came before",
        f"{tmp_path}/queries.*: passed over 1 records whose id came before",
        f"{tmp_path}/qrels.*: 2 of 3 answers are not in {tmp_path}/corpus.*, and count as not found",
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
    assert evaluation_sets._name(pattern) == name
