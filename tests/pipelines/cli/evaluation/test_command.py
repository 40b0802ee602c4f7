"""`millstream evaluate`, with models of a few random weights."""

import json
import os
import random
import subprocess
import sys

import pytest
from tiny_tokenizers import named
from typer.testing import CliRunner

from encoder.errors import ConfigurationError, InputError, QualityTooLow, TemplateError
from encoder.model import StaticModel, save_model
from pipelines.cli.app import app

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the Hub; it is read when transformers is imported

import numpy as np

KINDS = {"payment": ["card", "refused", "pin", "terminal"], "disk": ["disk", "full", "server", "log"]}


def run(*arguments):
    """Run the command; what it raised is raised here."""
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two static models, the second one noisy, and a file of word vectors, in one folder."""
    root = tmp_path_factory.mktemp("models")
    tokenizer = named("uncased")
    table = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 16)).astype(np.float32)
    noise = np.random.default_rng(1).standard_normal(table.shape).astype(np.float32)
    for name, rows in (("good", table), ("noisy", table + noise)):
        save_model(StaticModel(rows, tokenizer.to_str(), {"normalize": True}), root / name)
    lines = [f"{word} {i} {j}" for j, words in enumerate(KINDS.values(), 1) for i, word in enumerate(words)]
    (root / "words.vec").write_text("\n".join(["8 2", *lines]) + "\n")
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Records with labels, pairs, a classification and a retrieval, in files."""
    root = tmp_path_factory.mktemp("data")
    shuffler = random.Random(0)

    def text(kind):
        return " ".join(shuffler.choice(KINDS[kind]) for _ in range(6))

    rows = [{"message": {"body": text(kind)}, "kind": kind} for kind in list(KINDS) * 60]
    write(root / "records.jsonl", [*rows, {"kind": "disk"}])
    pairs = [
        {"sentence1": text("disk"), "sentence2": text(kind), "score": i}
        for i, kind in enumerate(list(KINDS) * 9)
    ]
    write(root / "pairs.jsonl", pairs)
    for part in ("train", "test"):
        (root / "kinds").mkdir(exist_ok=True)
        lines = [f"{text(kind)},{kind}" for kind in list(KINDS) * 10]
        (root / f"kinds/{part}.csv").write_text("\n".join(["text,label", *lines]))
    (root / "search").mkdir()
    write(
        root / "search/corpus.jsonl",
        [{"_id": f"p{i}", "title": None, "text": text("disk")} for i in range(20)],
    )
    write(root / "search/queries.jsonl", [{"_id": "q", "text": "disk full"}])
    (root / "search/qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\tp3\t1\nq\tp4\t0\n")
    return root


def write(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.slow
def test_all_figures_of_all_models_as_json(models, data):
    sets = ("--sts", data / "pairs.jsonl", "--classification", data / "kinds", "--retrieval", data / "search")
    own = ("--input", data / "records.jsonl", "--text", "{message.body}", "--label", "kind")
    against = ("--against", models / "good", "--against", models / "words.vec")
    result = run(models / "noisy", *against, *own, *sets, "--json")
    found = json.loads(result.stdout)
    figures = {figure["metric"]: figure for figure in found["figures"]}
    assert list(figures) == [
        "overlap@10",
        "rank-correlation",
        "knn",
        "logistic",
        "average-precision",
        "sts",
        "classification",
        "ndcg@10",
        "recall@10",
    ]
    assert {name: figures[name]["dataset"] for name in ("knn", "sts", "classification", "ndcg@10")} == {
        "knn": "records",
        "sts": "pairs",
        "classification": "kinds",
        "ndcg@10": "search",
    }
    assert figures["knn"]["value"] > 90
    assert 0.1 < figures["overlap@10"]["value"] < 1
    assert figures["recall@10"]["n"] == 1
    assert (found["model"], found["reference"], found["kind"]) == ("noisy", "good", "static")
    good, words = found["against"]
    assert [other["model"] for other in (good, words)] == ["good", "words.vec"]
    assert "overlap@10" not in {figure["metric"] for figure in good["figures"]}
    assert "overlap@10" in {figure["metric"] for figure in words["figures"]}
    assert "skipped 0 unreadable rows and 1 without {message.body} or kind" in result.stderr


@pytest.mark.slow
def test_a_table_for_people(models, data):
    result = run(models / "good", "--against", models / "noisy", "--sts", data / "pairs.jsonl")
    header, sts, speed, size, dimensions = result.stdout.splitlines()
    assert header.split() == ["set", "n", "good", "noisy"]
    assert sts.split()[:3] == ["sts", "pairs", "18"]
    assert "[" in sts
    assert speed.split()[0] == "texts/s"
    assert size.split()[-1] == "kB"
    assert dimensions.split() == ["dimensions", "16", "16"]


@pytest.mark.slow
def test_one_file_of_labelled_texts_is_halved(models, data):
    result = run(models / "good", "--classification", data / "kinds/train.csv", "--json")
    (figure,) = json.loads(result.stdout)["figures"]
    assert (figure["dataset"], figure["n"]) == ("kinds", 10)
    both = f"{data / 'kinds/train.csv'},{data / 'kinds/test.csv'}"
    assert (
        json.loads(run(models / "good", "--classification", both, "--json").stdout)["figures"][0]["n"] == 20
    )


@pytest.mark.slow
def test_the_sample_does_not_depend_on_the_order_of_the_records(models, data, tmp_path):
    rows = (data / "records.jsonl").read_text().splitlines()
    (tmp_path / "turned.jsonl").write_text("\n".join(rows[::-1]))
    own = ("--text", "message.body", "--label", "kind", "--sample", 50, "--json")
    outcomes = [
        json.loads(run(models / "good", "--input", path, *own).stdout)["figures"]
        for path in (data / "records.jsonl", tmp_path / "turned.jsonl")
    ]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0]["n"] == 25


@pytest.mark.slow
def test_what_is_required_and_not_reached_fails_after_the_table(millstream, models, data):
    arguments = ["evaluate", models / "good", "--sts", data / "pairs.jsonl"]
    ended = millstream(*arguments, "--require", "sts>=99")
    assert ended.code == 1
    assert "sts>=99: pairs has " in ended.err
    assert "texts/s" in ended.out
    assert run(*arguments[1:], "--require", "sts>=-100").exit_code == 0
    with pytest.raises(QualityTooLow, match="good misses its requirements"):
        run(*arguments[1:], "--require", "sts>=99")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ([], ConfigurationError, "there is nothing to measure on"),
        (["--input", "{data}/records.jsonl"], ConfigurationError, "--input needs labels"),
        (["--sts", "{data}/pairs.jsonl", "--label", "kind"], ConfigurationError, "give them with --input"),
        (
            ["--sts", "{data}/pairs.jsonl", "--require", "sts"],
            ConfigurationError,
            "cannot read the requirement",
        ),
        (["--sts", "{data}/pairs.jsonl", "--require", "knn>=5"], ConfigurationError, "cannot be measured"),
        (["--sts", "{data}/missing.jsonl"], InputError, "no input files at"),
        (["--sts", "{data}/records.jsonl"], TemplateError, "no record has the field 'sentence1'"),
        (["--sts", "{data}/pairs.jsonl"] * 2, ConfigurationError, "two sets are called 'pairs'"),
        (["--classification", "a,b,c"], ConfigurationError, "give a folder, or TRAIN,TEST, or one file"),
        (["--retrieval", "a,b"], ConfigurationError, "give a folder, or CORPUS,QUERIES,QRELS"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_refused_before_a_model_is_opened(arguments, error, message, data):
    with pytest.raises(error) as caught:
        run("no/such-model", *(argument.format(data=data) for argument in arguments))
    assert message in str(caught.value)


def test_judgements_of_other_queries_are_noticed(models, data, tmp_path):
    write(tmp_path / "qrels.jsonl", [{"query-id": "x", "corpus-id": "p1", "score": 1}])
    files = [data / "search/corpus.jsonl", data / "search/queries.jsonl", tmp_path / "qrels.jsonl"]
    with pytest.raises(InputError, match="do the files belong together"):
        run(models / "good", "--retrieval", ",".join(map(str, files)))


def test_scores_that_are_no_numbers_are_named(models, tmp_path):
    write(tmp_path / "pairs.jsonl", [{"sentence1": "a", "sentence2": "b", "score": "high"}])
    with pytest.raises(InputError, match="the score 'high' is not a number"):
        run(models / "good", "--sts", tmp_path / "pairs.jsonl")


@pytest.mark.slow
def test_help_imports_no_torch():
    program = """
import sys
from typer.testing import CliRunner
from pipelines.cli.app import app
assert CliRunner().invoke(app, ["evaluate", "--help"]).exit_code == 0
print(sorted({"torch", "transformers", "sklearn"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
