"""`millstream head fit groups` as a person calls it: fit, publish, replace, evaluate, and the columns."""

import json

import pyarrow.parquet as pq
import pytest

from encoder import Encoder
from encoder.store.store import ModelStore

USERS = ["ann", "bob", "cid", "dan", "eve", "fay"]
KINDS = {
    "opened": "session opened for user {user} by root",
    "failed": "login failed for {user} of host{n}",
    "full": "disk {n} is full",
}


def records(n=30):
    for k in range(n):
        kind = list(KINDS)[k % 3]
        text = KINDS[kind].format(user=USERS[k // 3 % len(USERS)], n=k)
        yield {"id": k, "text": text, "kind": kind, "at": f"2026-01-31T12:00:{k:02}Z"}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def store(tmp_path, model):
    made = ModelStore.open((tmp_path / "store/tiny").as_uri())
    made.publish(model)
    return made


@pytest.fixture
def lines(tmp_path):
    return write(tmp_path / "lines.jsonl", [*records(), {"id": 30, "text": None}, {"id": 31, "text": ""}])


@pytest.fixture
def fit(millstream, store, lines):
    def run(*arguments, inputs=lines):
        options = ("--model", f"{store.uri}@latest", "--name", "event", "--publish", "--input", inputs)
        return millstream("head", "fit", "groups", *options, *arguments)

    return run


@pytest.mark.slow
def test_groups_are_fitted_published_and_in_the_columns(millstream, backfill, fit, store, tmp_path):
    made = fit("--time", "at", "--report-records", "--json").done()
    wanted = {"version": 2, "groups": 3, "templates": 3, "records": 30, "in_no_group": 0, "threshold": None}
    assert wanted.items() <= made.items()
    about = store.manifest().parameters["heads"]["event"]
    assert (about["kind"], about["groups"], about["text"]) == ("groups", 3, "text")
    ref = f"{store.uri}@latest"
    head = Encoder.load(ref).heads.heads[0]
    assert head.first_seen.tolist() == [f"2026-01-31T12:00:0{k}Z" for k in range(3)]
    assert head.examples.tolist()[2] == "disk 2 is full"
    assert head.titles.tolist() == ["session opened user root", "login failed for", "disk full"]
    new = write(tmp_path / "new.jsonl", [*records(3), {"id": 3, "text": "never seen"}])
    assert backfill(new, tmp_path / "out", "--keep", "id", ref=ref).code == 0
    rows = sorted(pq.read_table(tmp_path / "out").to_pylist(), key=lambda row: row["id"])
    assert [row["event_group"] for row in rows] == [*head.ids.tolist(), None]
    assert [row["event_template"] for row in rows] == [
        "session opened for user <*> by root",
        "login failed for <*> of <*>",
        "disk <*> is full",
        None,
    ]
    assert [row["event_similarity"] for row in rows] == [1, 1, 1, 0]
    assert "event_group, event_template, event_similarity" in millstream("head", "list", ref).out


def test_a_replaced_head_keeps_ids_and_shows_the_largest_groups(fit, store, tmp_path):
    fit("--json").done()
    before = Encoder.load(f"{store.uri}@2").heads.heads[0]
    more = write(tmp_path / "more.jsonl", [*records(), {"text": "brand new"}])
    shown = fit("--replace", inputs=more)
    assert "4 groups in 31 records; groups with one record: 1" in shown.out
    assert "       10  session opened for user <*> by root\n" in shown.out
    after = Encoder.load(f"{store.uri}@3").heads.heads[0]
    assert after.ids.tolist()[:3] == before.ids.tolist()
    assert fit("--replace", "--min-size", "5", "--json", inputs=more).done()["in_no_group"] == 1


def test_records_without_a_template_join_the_nearest_group(fit, store, tmp_path):
    texts = ["login failed for ann of host1", "login failed for ann", "login failed for bob", ""]
    first, once, new, _ = Encoder.load(store.uri).encode(texts)
    cosine = round(min(first @ once, first @ new) - 0.005, 3)
    lines = write(tmp_path / "more.jsonl", [*records(), {"text": texts[1]}])
    made = fit("--similarity", str(cosine), "--json", inputs=lines).done()
    assert (made["groups"], made["templates"], made["threshold"]) == (3, 4, cosine)
    encoder = Encoder.load(f"{store.uri}@latest")
    (found,) = encoder.heads(encoder.encode(texts), texts)
    templates = encoder.heads.heads[0].templates.tolist()
    assert [templates[k] for k in found.template if k >= 0] == ["login failed for <*> of <*>", texts[1]]
    assert found.group.tolist() == [*[found.group[0]] * 3, -1]
    assert found.similarity.tolist() == [1, 1, pytest.approx(first @ new, abs=1e-3), 0]


def test_groups_are_measured_with_the_kinds_that_records_are_known_to_have(millstream, fit, store, lines):
    fit("--json").done()
    name = ("--name", "event", "--label", "kind")
    arguments = ("head", "evaluate", f"{store.uri}@latest", *name, "--input", lines, "--json")
    figures = millstream(*arguments).done()["figures"]
    assert {name: one["value"] for name, one in figures.items()} == {
        "grouping accuracy": 1,
        "kinds that are a group": 1,
        "groups that are a kind": 1,
        "adjusted Rand index": 1,
        "in a group": 1,
    }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--similarity", "near"), "--similarity is 'near': give a cosine up to 1, or auto"),
        (("--similarity", "2"), "--similarity is '2': give a cosine up to 1, or auto"),
        (("--min-size", "99"), "no template has 99 records: lower --min-size"),
        (("--time", "kind2"), "kind2"),
    ],
)
def test_what_cannot_be_fitted_is_refused(arguments, reason, fit):
    shown = fit(*arguments)
    assert shown.code != 0
    assert reason in shown.err
