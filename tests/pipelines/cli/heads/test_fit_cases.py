"""`millstream head fit cases` as a person calls it: fit, publish, add, remove, and the columns."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from encoder import Encoder
from encoder.store.store import ModelStore
from pipelines.cli.heads.publish import HeadTarget

KINDS = ["login failed", "card paid", "disk full"]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def records(n, first=0, seed=0):
    letters = np.random.default_rng(seed).choice(list("abcdefghij0123456789"), (n, 3))
    return [
        {
            "id": f"c{first + i}",
            "text": f"{KINDS[i % 3]} {' '.join(letters[i])}",
            "kind": KINDS[i % 3].split()[0],
        }
        for i in range(n)
    ]


@pytest.fixture
def store(tmp_path, model):
    made = ModelStore.open((tmp_path / "store/tiny").as_uri())
    made.publish(model)
    return made


@pytest.fixture
def fit(millstream, store):
    def run(*arguments, name="known"):
        options = ("--model", f"{store.uri}@latest", "--name", name, "--publish", "--json")
        return millstream("head", "fit", "cases", *options, *arguments)

    return run


@pytest.fixture
def known(tmp_path):
    records_ = write(tmp_path / "known.jsonl", records(60))
    return ("--input", records_, "--label", "kind", "--id", "id")


@pytest.mark.slow
def test_cases_are_fitted_added_removed_and_in_the_columns(millstream, backfill, fit, store, known, tmp_path):
    made = fit(*known, "--nearest", "3", "--precision", "0.8").done()
    assert (made["version"], made["cases"], made["labels"]) == (2, 60, 3)
    assert made["report"]["precision"]["value"] >= 0.8
    about = store.manifest().parameters["heads"]["known"]
    assert (about["kind"], about["cases"], about["label"], about["text"]) == ("cases", 60, "kind", "text")
    assert store.manifest().quality["heads"]["known"]["recall"] == made["report"]["recall"]["value"]

    more = write(tmp_path / "more.jsonl", records(9, first=57, seed=5))
    added = fit("--input", more, "--label", "kind", "--id", "id", "--add").done()
    assert (added["version"], added["cases"], added["threshold"]) == (3, 66, made["threshold"])
    (tmp_path / "gone.txt").write_text("c0\nc2\n")
    less = fit("--remove", f"@{tmp_path / 'gone.txt'}").done()
    assert (less["version"], less["cases"], less["report"]) == (4, 64, None)
    assert fit("--remove", "c1,c3").done()["cases"] == 62

    ref = f"{store.uri}@latest"
    listed = millstream("head", "list", ref)
    assert "known_id, known_label, known_similarity, known_nearest, known_vote, known_share" in listed.out
    measured = millstream("head", "evaluate", ref, "--name", "known", *known[:4], "--json").done()
    assert measured["figures"]["precision"]["value"] > 0.7
    assert backfill(tmp_path / "known.jsonl", tmp_path / "out", "--keep", "id,kind", ref=ref).code == 0
    rows = pq.read_table(tmp_path / "out").to_pylist()
    head = Encoder.load(ref).heads.heads[0]
    assert not {"c0", "c1", "c2", "c3"}.intersection(head.ids.tolist())
    for row in rows:
        assert [one["id"] for one in row["known_nearest"]][:1] == [row["known_id"]][
            : len(row["known_nearest"])
        ]
        assert (row["known_vote"] is None) == (not row["known_nearest"])


@pytest.mark.slow
def test_other_cases_that_were_published_meanwhile_are_not_lost(fit, store, known, monkeypatch):
    assert fit(*known, "--threshold", "0.5").code == 0
    publish = HeadTarget._publish

    def late(self, head, quality):
        monkeypatch.setattr(HeadTarget, "_publish", publish)
        assert fit("--remove", "c5").code == 0
        return self._publish(head, quality)

    monkeypatch.setattr(HeadTarget, "_publish", late)
    refused = fit("--remove", "c6")
    assert refused.code == 1
    assert "was published in the meantime with other cases of 'known'" in refused.err
    assert store.manifest().version == 3
    assert store.manifest().parameters["heads"]["known"]["cases"] == 59


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which records are the cases? Give --input FILES and --label FIELD"),
        (("--label", "kind"), "which records are the cases?"),
        (("--add", "--label", "kind", "--input", "x"), "--add needs IDs"),
        (("--remove", "c1", "--input", "x", "--label", "kind"), "give --add too"),
        (("--remove", "c1"), "has no head 'known' to change"),
        (("--remove", "c1", "--mask", "ip"), "--mask changes all vectors"),
    ],
)
def test_what_cannot_be_done_says_why(arguments, message, fit):
    refused = fit(*arguments)
    assert refused.code != 0
    assert message in " ".join(refused.err.split())


@pytest.mark.parametrize("ids", ["", ",", "@nowhere", " , "])
def test_ids_that_are_none_are_an_error(ids, fit, known):
    assert fit(*known, "--threshold", "0.5").code == 0
    refused = fit("--remove", ids)
    assert refused.code != 0
    assert "--remove" in refused.err
