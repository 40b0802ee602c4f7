"""`millstream distill`, with a teacher of a few random weights."""

import inspect
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from distill_report import small_model
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from typer.testing import CliRunner

from encoder.errors import (
    ConfigurationError,
    InputError,
    InvalidReference,
    OutputConflict,
    QualityTooLow,
    TemplateError,
)
from encoder.model import load_model
from encoder.store.store import ModelStore
from pipelines.cli.app import app
from pipelines.cli.distill.command import distill as distill_command
from pipelines.cli.evaluation.quality_gate import unmeasured, with_model

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the Hub; it is read when transformers is imported

import torch
import transformers

from distill import distill
from distill.corpus_fit import fit as corpus_fit
from distill.report.live import has_model


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers") / "tiny-bert"
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"word{i}" for i in range(60))]
    tokenizer = Tokenizer(models.WordPiece({entry: i for i, entry in enumerate(entries)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(entries[:4])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=len(entries), **sizes)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _no_store_in_the_environment(monkeypatch):
    monkeypatch.delenv("MILLSTREAM_STORE", raising=False)


def run(*arguments, **environment):
    """Run the command; what it raised is raised here."""
    result = CliRunner().invoke(app, ["distill", *map(str, arguments)], env=environment)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_defaults_are_those_of_python():
    command = inspect.signature(distill_command).parameters
    for name, option in inspect.signature(distill).parameters.items():
        if name in command and name not in ("dims", "sif", "vocabulary", "corpus"):  # text or files there
            assert command[name].default == option.default, name


def test_output_writes_a_folder_that_loads(teacher, tmp_path):
    result = run(teacher, "--output", tmp_path / "tiny", "--dims", 8)
    assert f"wrote {tmp_path / 'tiny'}" in result.stdout
    assert "62 tokens, 8 dimensions, float16" in result.stdout
    assert load_model(tmp_path / "tiny").table.shape == (62, 8)
    assert "# tiny" in (tmp_path / "tiny/README.md").read_text()


def test_store_and_name_publish_a_version(teacher, tmp_path):
    store = (tmp_path / "store").as_uri()
    arguments = (teacher, "--store", store, "--name", "tiny", "--dims", "8")
    first, second = run(*arguments), run(*arguments, "--dtype", "int8", "--json")
    manifest = ModelStore.open(f"{store}/tiny").manifest(1)
    assert f"published tiny@1 ({manifest.digest[:19]})" in first.stdout
    assert f"use it as {store}/tiny@1" in first.stdout
    outcome = json.loads(second.stdout)
    assert (outcome["name"], outcome["version"], outcome["ref"]) == ("tiny", 2, f"{store}/tiny@2")
    assert (outcome["tokens"], outcome["dim"], outcome["dtype"]) == (62, 8, "int8")
    assert outcome["teacher_bytes"] == (teacher / "model.safetensors").stat().st_size
    assert outcome["model_bytes"] == ModelStore.open(f"{store}/tiny").manifest(2).size


def test_the_manifest_says_how_the_version_was_made(teacher, tmp_path):
    run(teacher, "--name", "tiny", "--dims", "0.5", "--sif", "none", MILLSTREAM_STORE=str(tmp_path))
    manifest = ModelStore.open(str(tmp_path / "tiny")).manifest()
    assert manifest.teacher == "tiny-bert"
    assert manifest.parameters["dims"] == 0.5
    assert manifest.parameters["sif"] is None
    assert manifest.parameters["pooling"] == "mean"


def test_a_model_that_nothing_was_measured_on_has_a_page_that_says_so(teacher, tmp_path):
    run(teacher, "--name", "tiny", "--store", tmp_path / "store", "--dims", 8)
    manifest = ModelStore.open(str(tmp_path / "store/tiny")).manifest()
    assert not manifest.quality
    folder = ModelStore.open(str(tmp_path / "store/tiny")).fetch(manifest, tmp_path / "fetched")
    page = (folder / "report.html").read_text()
    assert "Not measured" in page
    assert "<th>teacher</th><td>tiny-bert</td>" in page
    assert "<th>dims</th><td><code>8</code></td>" in page


def test_the_same_command_twice_has_the_same_digest(teacher, tmp_path):
    for _ in range(2):
        run(teacher, "--name", "tiny", "--store", tmp_path, "--dims", 8)
    store = ModelStore.open(str(tmp_path / "tiny"))
    assert store.manifest(1).digest == store.manifest(2).digest


def test_output_wins_over_the_store_of_the_environment(teacher, tmp_path):
    run(teacher, "--output", tmp_path / "tiny", "--dims", 8, MILLSTREAM_STORE=str(tmp_path / "store"))
    assert load_model(tmp_path / "tiny").dim == 8
    assert not (tmp_path / "store").exists()


@pytest.fixture
def records(tmp_path):
    """Records whose texts are words of the teacher's, one of them damaged."""
    shuffler = random.Random(0)
    rows = [{"a": {"b": " ".join(f"word{shuffler.randrange(60)}" for _ in range(5))}} for _ in range(400)]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "records.jsonl").write_text("\n".join([*lines, '{"a": oops']))
    return tmp_path / "records.jsonl"


@pytest.mark.slow
def test_a_corpus_is_fitted_to(teacher, records, tmp_path):
    arguments = ("--corpus", records, "--text", "{a.b}", "--cache", tmp_path / "cache", "--no-refine")
    result = run(teacher, "--output", tmp_path / "tiny", "--dims", 8, *arguments)
    assert "fitted to 380 texts; mean cosine with the teacher on 20 held-out texts: 0." in result.stdout
    assert "skipped 1 of 401 records" in result.stderr
    plain = run(teacher, "--output", tmp_path / "plain", "--dims", 8, "--json")
    assert json.loads(plain.stdout)["corpus"] is None
    tables = [load_model(tmp_path / name).table for name in ("tiny", "plain")]
    assert tables[0].shape == tables[1].shape
    assert not np.array_equal(*tables)
    assert "fitted to 380 texts by ridge regression" in (tmp_path / "tiny/README.md").read_text()
    assert list((tmp_path / "cache").glob("*/vectors.f16"))


@pytest.mark.slow
def test_the_manifest_says_what_the_corpus_gave_and_no_path(teacher, records, tmp_path):
    store = tmp_path / "store"
    arguments = ("--corpus", records, "--text", "a.b", "--sample", 200, "--seed", 3, "--dims", 8)
    run(teacher, "--name", "tiny", "--store", store, "--cache", tmp_path / "cache", *arguments)
    manifest = ModelStore.open(str(store / "tiny")).manifest()
    fitted = manifest.parameters["corpus"]
    assert (fitted["texts"], fitted["held_out"], fitted["text"], fitted["seed"]) == (190, 10, "a.b", 3)
    assert fitted["loss_refined"] <= fitted["loss_fitted"]
    assert str(tmp_path) not in json.dumps(manifest.parameters)


@pytest.fixture
def pairs(tmp_path):
    """Pairs of which the teacher's words are made, with scores that nobody gave."""
    shuffler = random.Random(1)
    lines = [f"word{shuffler.randrange(60)},word{shuffler.randrange(60)},{i % 6}" for i in range(40)]
    (tmp_path / "pairs.csv").write_text("\n".join(["sentence1,sentence2,score", *lines]))
    return tmp_path / "pairs.csv"


@pytest.mark.slow
def test_a_model_below_what_is_required_is_not_published(teacher, pairs, tmp_path):
    store = tmp_path / "store"
    place = (teacher, "--dims", 8, "--sts", pairs, "--require", "sts>=99")
    with pytest.raises(QualityTooLow) as caught:
        run(*place, "--store", store, "--name", "tiny")
    message = str(caught.value)
    assert re.search(
        r"nothing was published: sts>=99: pairs has -?\d+\.\d \[-?\d+\.\d, -?\d+\.\d\]$", message
    )
    assert ModelStore.open(str(store / "tiny")).versions() == []
    with pytest.raises(QualityTooLow):
        run(*place, "--output", tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()


def test_records_that_measure_nothing_are_refused_before_the_teacher_is_loaded(records, tmp_path):
    place = ("no/such-teacher", "--output", tmp_path / "tiny", "--input", records, "--text", "{a.b}")
    with pytest.raises(InputError, match="fewer than two of them occur twice"):
        run(*place, "--label", "a.b")
    (tmp_path / "few.jsonl").write_text("\n".join(records.read_text().splitlines()[:9]))
    with pytest.raises(InputError, match="9 texts are too few"):
        run(*place[:4], tmp_path / "few.jsonl", *place[5:])
    (tmp_path / "same.csv").write_text("text,label\n" + "word1 word2,x\nword3,x\n" * 9)
    with pytest.raises(InputError, match="fewer than two of them occur twice"):
        run(*place[:3], "--classification", tmp_path / "same.csv")
    parts = f"{tmp_path / 'same.csv'},{tmp_path / 'same.csv'}"
    with pytest.raises(InputError, match="all training texts of same have the label 'x'"):
        run(*place[:3], "--classification", parts)


def test_the_format_is_the_corpuss(teacher, records, tmp_path):
    (tmp_path / "plain.log").write_text("\n".join(f"word{k % 60} word{k % 7}" for k in range(500)))
    corpus = ("--corpus", tmp_path / "plain.log", "--input-format", "text", "--cache", tmp_path / "cache")
    place = (teacher, "--output", tmp_path / "tiny", "--dims", 8, "--no-refine")
    with pytest.raises(TemplateError, match="no record has the field 'text'"):
        run(*place, *corpus, "--input", records)  # JSON lines, whose records have another field


@pytest.mark.slow
def test_a_failed_gate_is_exit_code_one(millstream, teacher, pairs, tmp_path):
    gate = ("--sts", pairs, "--require", "sts>=99")
    ended = millstream("distill", teacher, "--output", tmp_path / "tiny", *gate)
    assert ended.code == 1
    assert "sts>=99" in ended.err.splitlines()[-1]


@pytest.mark.slow
def test_a_model_that_is_good_enough_is_published_with_its_figures_and_its_report(teacher, pairs, tmp_path):
    store = tmp_path / "store"
    arguments = (teacher, "--store", store, "--name", "tiny", "--dims", 8, "--sts", pairs)
    result = run(*arguments, "--require", "sts>=-100")
    assert "sts on pairs: " in result.stdout
    run(*arguments)
    first, second = (ModelStore.open(str(store / "tiny")).manifest(version) for version in (1, 2))
    (figure,) = first.quality["figures"]
    assert (figure["metric"], figure["dataset"], figure["n"]) == ("sts", "pairs", 40)
    assert figure["low"] <= figure["value"] <= figure["high"]
    assert [beside["model"] for beside in first.quality["beside"]] == ["tiny-bert"]
    assert [beside["model"] for beside in second.quality["beside"]] == ["tiny-bert", "tiny@1"]
    assert str(tmp_path) not in json.dumps(first.quality)
    assert {"report.html", "README.md"} <= {file.path for file in first.files}
    folder = ModelStore.open(str(store / "tiny")).fetch(second, tmp_path / "fetched")
    assert "tiny@1" in (folder / "report.html").read_text()
    assert "| sts | pairs | " in (folder / "README.md").read_text()
    assert load_model(folder).dim == 8
    shown = CliRunner().invoke(app, ["models", "show", str(store / "tiny@1")]).stdout
    assert re.search(r"quality sts pairs +-?\d+(\.\d+)? \[", shown)


@pytest.mark.slow
def test_what_a_corpus_leaves_over_is_measured_without_labels(teacher, tmp_path):
    shuffler = random.Random(0)
    texts = [" ".join(f"word{shuffler.randrange(60)}" for _ in range(5)) for _ in range(1200)]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    arguments = ("--corpus", tmp_path / "texts.txt", "--cache", tmp_path / "cache", "--no-refine", "--json")
    result = run(
        teacher, "--output", tmp_path / "tiny", "--dims", 8, *arguments, "--require", "overlap@10>=0.01"
    )
    figures = {figure["metric"]: figure for figure in json.loads(result.stdout)["quality"]["figures"]}
    assert set(figures) == {"overlap@10", "rank-correlation"}
    assert (figures["overlap@10"]["dataset"], figures["overlap@10"]["n"]) == ("held-out", 60)
    page = (tmp_path / "tiny/report.html").read_text()
    assert not any(text in page for text in texts)
    shown = ("--report-records", 30)
    run(teacher, "--output", tmp_path / "shown", "--dims", 8, *arguments, *shown)
    page = (tmp_path / "shown/report.html").read_text()
    assert sum(text in page for text in texts) == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--require", "sts>=75"], "sts>=75 cannot be measured: give --sts"),
        (["--require", "overlap@10>=0.5"], "cannot be measured: give --input"),
        (["--sts", "pairs.csv", "--require", "sts>=0.75"], "sts goes up to 100"),
        (["--sts", "missing.csv"], "no input files at 'missing.csv'"),
        (["--label", "kind"], "give them with --input"),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("pairs")
def test_what_cannot_be_measured_is_refused_before_the_teacher_is_loaded(
    arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ConfigurationError, InputError)) as caught:
        run("no/such-teacher", "--output", "x", *arguments)
    assert message in str(caught.value)


def test_a_model_that_no_report_can_hold_is_written_all_the_same(teacher, tmp_path):
    result = run(teacher, "--output", tmp_path / "tiny", "--dims", 8, "--report-model")
    assert "--report-model: the report cannot hold its model" in " ".join(result.stderr.split())
    assert not has_model((tmp_path / "tiny/report.html").read_text())


def test_the_report_holds_the_model_if_it_is_asked_for():
    model = small_model(np.random.default_rng(0))
    measured = with_model(unmeasured(model, "tiny", metadata={}, parameters={}), model)
    assert has_model(measured.report)


def test_own_words_are_added(teacher, tmp_path):
    (tmp_path / "words.txt").write_text("chargeback\n\n  refund \nword1\n")
    run(teacher, "--output", tmp_path / "tiny", "--dims", 8, "--vocabulary", tmp_path / "words.txt")
    assert load_model(tmp_path / "tiny").table.shape == (64, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give --output, or --store and --name"),
        (["--store", "x"], "Give --name"),
        (["--name", "x"], "Give --store"),
        (["--output", "x", "--name", "x"], "not both"),
        (["--output", "x", "--store", "x"], "not both"),
        (["--output", "x", "--dims", "many"], "--dims is 'many': give a number, or none"),
        (["--output", "x", "--dims", "0"], "--dims is 0"),
        (["--output", "x", "--sif", "2"], "--sif is 2"),
        (["--output", "x", "--drop-pattern", "("], "is not a regular expression"),
        (["--output", "x", "--vocabulary", "missing.txt"], "cannot read the vocabulary missing.txt"),
        (["--output", "x", "--vocabulary", "empty.txt"], "the vocabulary empty.txt is empty"),
        (["--output", "x", "--device", "warp"], "--device is 'warp', which is not available here"),
        (
            ["--output", "x", "--corpus", "texts.txt", "--clusters", "5"],
            "--clusters cannot be combined with --corpus",
        ),
        (
            ["--output", "x", "--corpus", "texts.txt", "--device", "warp"],
            "--device is 'warp', which is not available here",
        ),
        (["--output", "x", "--corpus", "missing.txt"], "no input files at 'missing.txt'"),
        (["--output", "x", "--corpus", "texts.txt", "--text", "{a}"], "no record has the field 'a'"),
        (["--output", "empty.txt/x"], "empty.txt is not writable; name another folder"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_refused_before_the_teacher_is_loaded(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("\n \n")
    Path("texts.txt").write_text("one\ntwo\none\n")
    with pytest.raises((ConfigurationError, InputError)) as caught:
        run("no/such-teacher", *arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("x").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sample", "5"], "--sample is 5"),
        (["--seed", "-1"], "--seed is -1"),
        (["--cache", "texts.txt"], "cannot write to the cache texts.txt: File exists; set another --cache"),
        ([], "only 2 distinct texts"),
    ],
    ids=" ".join,
)
def test_a_corpus_that_cannot_be_fitted_to_is_refused_before_the_teacher_reads(
    teacher, arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("texts.txt").write_text("one\ntwo\none\n")
    with pytest.raises((ConfigurationError, InputError), match=message):
        run(teacher, "--output", "x", "--corpus", "texts.txt", *arguments)
    assert not Path("x").exists()


def test_agreement_that_the_corpus_has_too_few_texts_for_is_refused_before_the_fit(
    teacher, tmp_path, monkeypatch
):
    monkeypatch.setattr(corpus_fit, "embed_cached", lambda *_: pytest.fail("the teacher read the texts"))
    (tmp_path / "texts.txt").write_text("".join(f"word{k % 20} word{k // 20}\n" for k in range(400)))
    arguments = ("--corpus", tmp_path / "texts.txt", "--require", "overlap@10>=0.5")
    with pytest.raises(
        InputError,
        match=r"20 of its 400 texts are held out, and 50 are needed \(--require\): give about 1,000",
    ):
        run(teacher, "--output", tmp_path / "x", *arguments)


def test_a_folder_with_something_in_it_is_left_alone(teacher, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputConflict, match="already exists"):
        run(teacher, "--output", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_names_and_stores_that_cannot_be_are_refused(teacher, tmp_path):
    with pytest.raises(InvalidReference, match="not a model name"):
        run(teacher, "--store", tmp_path, "--name", "../x")
    with pytest.raises(InvalidReference, match="unknown scheme"):
        run(teacher, "--store", "ftp://host/models", "--name", "x")


def test_a_failed_distillation_leaves_nothing(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot load the teacher no/such-teacher"):
        run("no/such-teacher", "--output", tmp_path / "tiny")
    assert not list(tmp_path.iterdir())


def test_progress_goes_to_standard_error_and_json_alone_to_standard_output(millstream, teacher, tmp_path):
    ended = millstream("distill", teacher, "--output", tmp_path / "tiny", "--dims", "8", "--json")
    assert ended.done()["ref"] == str(tmp_path / "tiny")
    assert all("tokens/s" in line for line in ended.err.splitlines())  # none where it takes no five seconds


@pytest.mark.slow
def test_help_imports_no_torch():
    program = """
import sys
from typer.testing import CliRunner
from pipelines.cli.app import app
assert CliRunner().invoke(app, ["distill", "--help"]).exit_code == 0
print(sorted({"torch", "transformers", "sklearn"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
