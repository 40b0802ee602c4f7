"""`millstream head` as a person calls it: fit, publish, look, measure, and the columns of a backfill."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from encoder import Encoder
from encoder.store.store import ModelStore

WORDS = {
    "login": "access",
    "failed": "access",
    "card": "payment",
    "paid": "payment",
    "disk": "disk",
    "full": "disk",
}


def records(n=240, seed=0):
    """Records of three kinds, told apart by their words."""
    random = np.random.default_rng(seed)
    kinds = [("login", "failed"), ("card", "paid"), ("disk", "full")]
    rows = []
    for i in range(n):
        one, two = kinds[i % 3]
        noise = " ".join(random.choice(list("abcdefghij0123456789"), 3))
        rows.append(
            {"id": i, "text": f"{one} {two} {noise}", "kind": WORDS[one], "tags": [one, two][: i % 2 + 1]}
        )
    return rows


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def store(tmp_path, model):
    made = ModelStore.open((tmp_path / "store/tiny").as_uri())
    made.publish(model, teacher="t", parameters={"dims": 16})
    return made


@pytest.fixture
def train(tmp_path):
    return write(tmp_path / "train.jsonl", records())


@pytest.fixture
def test(tmp_path):
    return write(tmp_path / "test.jsonl", records(90, seed=1))


@pytest.mark.slow
def test_fitted_published_listed_measured_and_in_the_columns(
    millstream, backfill, store, train, test, tmp_path
):
    ref = f"{store.uri}@latest"
    common = ("--model", ref, "--input", train, "--publish", "--json")
    fitted = millstream("head", "fit", "classifier", *common, "--label", "kind", "--name", "kind").done()
    assert (fitted["ref"], fitted["based_on"], fitted["labels"]) == (f"{store.uri}@2", 1, 3)
    assert fitted["accuracy"] > 0.95
    tags = millstream("head", "fit", "classifier", *common, "--label", "tags", "--name", "tags").done()
    assert tags["labels"] == 6
    few = write(tmp_path / "few.jsonl", records(15, seed=2))
    incident = ("--model", ref, "--input", few, "--publish", "--json", "--label", "kind")
    named = millstream("head", "fit", "prototypes", *incident, "--name", "incident").done()
    assert named["names"] == ["access", "disk", "payment"]
    odd = millstream("head", "fit", "novelty", *common, "--name", "odd", "--alert-rate", "5%").done()
    assert odd["version"] == 5
    manifest = store.manifest()
    assert manifest.parameters["dims"] == 16
    assert manifest.parameters["based_on"] == 4
    assert set(manifest.parameters["heads"]) == {"kind", "tags", "incident", "odd"}
    assert manifest.quality["heads"]["kind"]["accuracy"] == fitted["accuracy"]
    assert set(store.manifest(1).files) < set(manifest.files)

    listed = json.loads(millstream("head", "list", ref, "--json").out)
    columns = [name for row in listed for name in row["columns"]]
    assert [row["name"] for row in listed] == ["incident", "kind", "odd", "tags"]
    assert "kind_label, kind_score" in millstream("head", "list", ref).out

    measured = millstream(
        "head", "evaluate", ref, "--name", "kind", "--input", test, "--label", "kind", "--json"
    ).done()
    assert measured["records"] == 90
    assert measured["figures"]["accuracy"]["value"] > 0.9
    shown = millstream("head", "evaluate", ref, "--name", "tags", "--input", test, "--label", "tags")
    assert (shown.code, "macro F1" in shown.out) == (0, True)

    assert backfill(test, tmp_path / "out", "--keep", "id,kind", ref=ref).code == 0
    table = pq.read_table(tmp_path / "out").sort_by("id")
    assert table.column_names == ["id", "kind", "embedding", "model_version", *columns]
    encoder = Encoder.load(ref)
    found = encoder.heads(encoder.encode([row["text"] for row in records(90, seed=1)]))
    assert np.array_equal(table["odd_distance"].to_numpy(), found[2].distance)
    right = np.array(table["kind_label"].to_pylist()) == np.array(table["kind"].to_pylist())
    assert right.mean() == measured["figures"]["accuracy"]["value"]
    near = np.array(table["incident_nearest"].to_pylist()) == np.array(table["kind"].to_pylist())
    assert near.mean() > 0.6

    assert backfill(test, tmp_path / "some", "--keep", "id", "--heads", "odd", ref=ref).code == 0
    assert pq.read_table(tmp_path / "some").column_names[-2:] == ["odd_distance", "odd_novel"]
    assert backfill(test, tmp_path / "none", "--keep", "id", "--heads", "none", ref=ref).code == 0
    assert pq.read_table(tmp_path / "none").column_names == ["id", "embedding", "model_version"]
    again = backfill(test, tmp_path / "none", "--keep", "id", ref=ref)
    assert "another backfill (heads: []" in again.error
    assert (
        "no head 'nope': it has incident, kind, odd, tags"
        in backfill(test, tmp_path / "nope", "--heads", "nope", ref=ref).error
    )


@pytest.mark.slow
def test_a_folder_gets_a_head_and_keeps_what_it_has(millstream, model, train, tmp_path):
    out = tmp_path / "with"
    common = ("--input", train.as_uri(), "--label", "kind", "--name", "kind", "--class-weight", "balanced")
    said = millstream("head", "fit", "classifier", "--model", model, *common, "--output", out)
    assert said.code == 0, said.err
    assert f"wrote {out}" in said.out
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {path.name for path in model.iterdir()} | {"heads/kind.safetensors"}
    taken = millstream("head", "fit", "classifier", "--model", out, *common, "--output", tmp_path / "two")
    assert "already has a head 'kind': give another --name, or --replace" in taken.error
    done = millstream(
        "head",
        "fit",
        "classifier",
        "--model",
        out,
        *common,
        "--output",
        tmp_path / "two",
        "--replace",
        "--calibration",
        "isotonic",
    )
    assert done.code == 0, done.err
    (head,) = Encoder.load(tmp_path / "two").heads.heads
    assert head.link == "isotonic"
    assert (head.metadata["class_weight"], head.metadata["label"]) == ("balanced", "kind")
    assert head.metadata["input"] == train.name  # not where it lies
    assert "has no heads" in millstream("head", "list", model).err


@pytest.mark.slow
def test_the_report_and_the_card_of_the_new_version_have_the_head(millstream, tmp_path, model, train):
    whole = tmp_path / "whole"
    shutil.copytree(model, whole)
    (whole / "README.md").write_text("# tiny\n\n## How it was made\n\nBy hand.\n")
    (whole / "report.html").write_text('<h1>tiny</h1>\n<section id="lineage"></section>\n')
    store = ModelStore.open((tmp_path / "store/whole").as_uri())
    store.publish(whole, teacher="t")
    common = ("--input", train, "--label", "kind", "--publish")
    for number, name in enumerate(("kind", "again"), 1):
        fit = ("head", "fit", "classifier", "--model", f"{store.uri}@{number}", *common, "--name", name)
        said = millstream(*fit)
        assert said.code == 0, said.err
    folder = store.fetch(store.manifest(3), tmp_path / "fetched")
    card, page = (folder / "README.md").read_text(), (folder / "report.html").read_text()
    for name in ("kind", "again"):
        assert card.count(f"| {name} | classifier | one of 3: access, disk, payment | 240 records") == 1
        assert page.count(f"<td>{name}</td><td>classifier</td>") == 1
    before = store.fetch(store.manifest(1), tmp_path / "before")
    assert (before / "README.md").read_text() == (whole / "README.md").read_text()


@pytest.mark.slow
def test_novelty_is_measured_on_what_is_normal_and_on_what_is_named(millstream, model, train, tmp_path):
    out = tmp_path / "with"
    common = ("--model", model, "--name", "odd", "--output", out)
    normal = write(tmp_path / "normal.jsonl", [row for row in records() if row["kind"] != "disk"])
    assert millstream("head", "fit", "novelty", *common, "--input", normal, "--alert-rate", "0.05").code == 0
    ask = ("head", "evaluate", out, "--name", "odd", "--input", train, "--json")
    alone = millstream(*ask).done()
    assert list(alone["figures"]) == ["alert rate"]
    found = millstream(*ask, "--label", "kind", "--novel", "disk").done()["figures"]
    assert found["alert rate"]["value"] < 0.2
    assert found["AUROC"]["value"] > 0.8
    assert "Give --label" in millstream(*ask, "--novel", "disk").error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--label", "nope", "--publish"), "no record has the field 'nope'"),
        (("--label", "kind"), "where should the model with the head go? Give --publish or --output FOLDER"),
        (("--label", "kind", "--publish", "--output", "x"), "Give --publish or --output"),
        (("--label", "one", "--publish"), "all records have the label 'same': a classifier needs"),
        (("--label", "share", "--publish"), "the label 'share' is double"),
        (("--label", "id", "--publish"), "only 1 distinct texts have the label '0': give at least 5"),
        (("--label", "null", "--publish"), "has a text and the label 'null'"),
        (("--label", "kind", "--name", "a-b", "--publish"), "'a-b' is not a name for a head"),
        (("--label", "tags", "--calibration", "temperature", "--publish"), "is for one label per record"),
    ],
)
def test_what_cannot_be_fitted_is_said(arguments, said, millstream, store, tmp_path):
    rows = [{**row, "one": "same", "share": 0.5, "null": None} for row in records(60)]
    train = write(tmp_path / "train.jsonl", rows)
    name = () if "--name" in arguments else ("--name", "kind")
    ended = millstream("head", "fit", "classifier", "--model", store.uri, "--input", train, *name, *arguments)
    assert said in " ".join(ended.err.split())
    assert ended.code != 0
    assert store.versions() == [1]


def test_a_folder_is_not_published_and_an_output_that_is_there_is_kept(millstream, model, train, tmp_path):
    common = (
        "head",
        "fit",
        "classifier",
        "--model",
        model,
        "--input",
        train,
        "--label",
        "kind",
        "--name",
        "kind",
    )
    assert "is a folder, not a model in a store" in millstream(*common, "--publish").error
    (tmp_path / "x").mkdir()
    write(tmp_path / "x/y", [])
    assert "already exists: name a new folder" in millstream(*common, "--output", tmp_path / "x").error
    assert "is not writable" in millstream(*common, "--output", tmp_path / "x/y/z").error


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        ("1", "--alert-rate is '1', which is not between 0 and 1: write 1% for percent"),
        ("5", "write 5% for percent"),
        ("100%", "is not between 0 and 1: give a share, such as 0.1% or 0.001"),
        ("0", "is not between 0 and 1"),
        ("-0.1", "is not between 0 and 1"),
        ("nan", "is not between 0 and 1"),
        ("some", "give a share, such as 0.1% or 0.001"),
    ],
)
def test_an_alert_rate_that_is_none_is_refused_at_once(rate, said, millstream, tmp_path):
    common = ("--model", tmp_path / "no model", "--input", "nothing", "--name", "odd", "--publish")
    assert said in millstream("head", "fit", "novelty", *common, "--alert-rate", rate).error
