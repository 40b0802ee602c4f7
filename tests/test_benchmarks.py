"""The encoder's benchmark runs, end to end, on few texts; what it says about them is worked out right."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.speed.cases import ASCII, CASES, GROUPS
from benchmarks.speed.goals import goals
from benchmarks.speed.plot import plot
from benchmarks.speed.processes import OWN_ENVIRONMENTS
from benchmarks.speed.report import report
from benchmarks.speed.texts import cut, vary
from tiny_tokenizers import SAMPLE, named

from encoder.model import StaticModel, save_model

ROOT = Path(__file__).parents[1]


def run(tmp_path, *arguments):
    model, texts = tmp_path / "tiny", tmp_path / "texts"
    table = np.random.default_rng(0).standard_normal((named("uncased").get_vocab_size(), 256), np.float32)
    save_model(StaticModel(table, named("uncased").to_str(), {"normalize": True}), model)
    texts.write_text("\n".join(SAMPLE * 30), "utf-8")
    files = [f"--texts={kind}={texts}" for kind in ("log lines", "sentences")]
    sizes = ("--quick", "--most=200", "--rounds=1", "--seconds=0.001", f"--folder={tmp_path / 'bench'}")
    return subprocess.run(
        [
            sys.executable,
            ROOT / "tests/benchmarks/encoder.py",
            f"--model={model}",
            *files,
            *sizes,
            *arguments,
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        check=False,
    )


def result(case, **rates):
    """A result in which every text has 100 bytes and 20 tokens."""
    systems = {
        name.replace("_", " "): {
            "does": "whole",
            "skipped": None,
            "records_per_second": rate,
            "best": rate,
            "mb_per_second": rate / 1e4,
            "ns_per_token": 5e7 / rate,
        }
        for name, rate in rates.items()
    }
    facts = {"bytes_per_text": 100, "tokens_per_text": 20}
    return {"case": vars(case), "name": case.name, "systems": systems, **facts}


def found(*results):
    return {
        "date": "today",
        "machine": "this",
        "versions": {"numpy": "2"},
        "method": "median",
        "cases": list(results),
        "goals": goals(results),
    }


def case(group, texts, dtype="int8"):
    return next(c for c in CASES if (c.group, c.texts, c.dtype) == (group, texts, dtype))


@pytest.mark.slow
def test_the_program_measures_checks_and_writes_its_figures(tmp_path):
    done = run(tmp_path, "--cases=lengths", f"--json={tmp_path / 'out/figures.json'}")
    assert done.returncode == 0, done.stderr  # no goals for these cases
    figures = json.loads((tmp_path / "out/figures.json").read_text())
    assert [one["name"] for one in figures["cases"]] == [c.name for c in CASES if c.group == "lengths"]
    for one in figures["cases"]:
        ours = one["systems"]["millstream"]
        assert ours["largest_difference"] <= 1e-5
        assert ours["texts"] > 0
        assert ours["records_per_second"] > 0
    assert "| 1,000 tokens, int8, 256 dims |" in done.stdout


@pytest.mark.soak
def test_every_case_runs(tmp_path):
    done = run(tmp_path, f"--json={tmp_path / 'figures.json'}", f"--plot={tmp_path / 'plot.svg'}")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert done.returncode == (0 if all(goal["reached"] for goal in figures["goals"]) else 1), done.stderr
    assert {one["case"]["group"] for one in figures["cases"]} == set(GROUPS)
    assert len(figures["cases"]) == len(CASES)
    for requirement in OWN_ENVIRONMENTS:  # nobody made them here
        assert (
            f"| {requirement.replace('==', ' ')} | tokenising only; not measured: not installed"
            in done.stdout
        )
    assert "<svg" in (tmp_path / "plot.svg").read_text()


def test_texts_that_are_not_there_are_named(tmp_path):
    done = run(tmp_path, "--texts=German=/nowhere/german.txt")
    assert done.returncode == 2
    assert "there is no file /nowhere/german.txt" in done.stderr


def test_goals_are_told_reached_and_missed_apart():
    logs = result(case("main", "log lines"), millstream=1.0e6, model2vec=2e4)
    sentences = result(case("main", "sentences"), millstream=1.29e6, model2vec=2e4)
    russian = result(case("languages", "Russian"), millstream=4e5, model2vec=2e4, **{ASCII: 1e6})
    arabic = result(case("languages", "Arabic"), millstream=3e5, model2vec=2e4, **{ASCII: 1e6})
    unigram = result(case("tokenizers", "sentences"), millstream=1.5e5, model2vec=2e4)
    said = found(logs, sentences, russian, arabic, unigram)
    assert [goal["reached"] for goal in said["goals"]] == [True, False, True, False, False]
    lines = report(said).splitlines()
    assert "| log lines, int8, 256 dims: 1,000,000 records/s | 1,000,000 | reached |" in lines
    assert "| sentences, int8, 256 dims: 1,300,000 records/s | 1,290,000 | **missed** |" in lines
    assert "| millstream | whole | 1,000,000 | 1,000,000 | 100.0 | 50.0 | 50.0 |  |" in lines
    assert (
        "| Russian, each once, int8, 256 dims | 100, 20 | 400,000 | 40.0 | 125.0 | 20,000 | 20.0 | 0.40 |"
        in lines
    )


@pytest.mark.slow
def test_the_plot_shows_every_measured_system(tmp_path):
    logs = result(case("main", "log lines"), millstream=1.0e6, model2vec=2e4, tokie=3e5)
    logs["systems"]["tokie"]["does"] = "tokenising only"
    logs["systems"]["other"] = {"does": "tokenising only", "skipped": "not measured"}
    for name in ("plot.svg", "plot.png"):
        plot(found(logs), tmp_path / name)
    drawing = (tmp_path / "plot.svg").read_text()
    for text in ("millstream", "model2vec", "tokie: tokenising only", "1.00 M", "300 k"):
        assert f"<!-- {text} -->" in drawing
    assert "<!-- other: tokenising only -->" not in drawing


@pytest.mark.slow
def test_a_plot_without_main_cases_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="main cases"):
        plot(found(), tmp_path / "plot.svg")


def test_texts_are_cut_at_words_and_reach_their_tokens():
    texts = cut(SAMPLE, 10, named("uncased"), 20)
    assert len(texts) == 20
    assert " ".join(texts).startswith(" ".join(SAMPLE[0].split()))
    for text in texts:
        without_last = text.rpartition(" ")[0]
        lengths = [
            len(named("uncased").encode(part, add_special_tokens=False)) for part in (text, without_last)
        ]
        assert lengths[0] >= 10 > lengths[1]


def test_varied_texts_hold_words_that_were_not_written():
    words = {word for text in SAMPLE for word in text.split()}
    texts = vary(SAMPLE, 300)
    varied = {word for text in texts for word in text.split()}
    assert texts == vary(SAMPLE, 300)
    assert len(varied - words) > 50


@pytest.mark.slow
def test_the_formats_of_messages_are_measured(tmp_path):
    program, file = ROOT / "tests/benchmarks/formats.py", tmp_path / "formats.json"
    subprocess.run(
        [sys.executable, program, "--rounds=2", f"--json={file}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    rates = json.loads(file.read_text())
    assert rates["Avro from Avro, array of float"] > 3 * rates["fastavro alone, array of float"]


SAY = """
import runpy, sys
for program in sys.argv[1:]:
    sys.argv[:] = [program, "--help"]
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        assert not end.code, program
"""


@pytest.mark.slow
def test_every_program_says_what_it_measures():
    programs = sorted((ROOT / "tests/benchmarks").glob("*.py"))
    command = [sys.executable, "-c", SAY, *map(str, programs)]  # one process: most have the same imports
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for program in programs:
        assert f"usage: {program.name} " in done.stdout


@pytest.mark.slow
def test_the_benchmark_of_groups_runs(tmp_path):
    lines = [f"{k},{what} of user u{k},{what}" for k in range(50) for what in ("login", "logout")]
    (tmp_path / "logs/sshd").mkdir(parents=True)
    table = tmp_path / "logs/sshd/sshd_structured.csv"
    table.write_text("\n".join(["LineId,Content,EventId", *lines]))
    figures = tmp_path / "found.json"
    program = ROOT / "tests/benchmarks/groups.py"
    command = [sys.executable, program, "--rounds=1", f"--logs={tmp_path / 'logs'}", f"--json={figures}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(figures.read_text())["mean"]["Millstream"]
    assert found.pop("lines/s") > 0
    assert found == {"grouping accuracy": 1, "F1": 1, "Rand index": 1}, done.stderr


@pytest.mark.slow
def test_the_benchmark_of_masks_runs(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "tests/benchmarks/masks.py",
            "--rounds=1",
            f"--json={tmp_path / 'found.json'}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads((tmp_path / "found.json").read_text())
    assert done.returncode == (found["share"] < 0.5)
    assert found["nanoseconds"].keys() > {"encode", "encode with all masks", "Arrow's RE2 alone"}
    assert "with all masks the encoder has" in done.stdout


@pytest.mark.slow
def test_the_benchmark_of_cases_runs(tmp_path):
    program, out = ROOT / "tests/benchmarks/cases.py", tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, program, "--sizes=3000", "--rounds=1", f"--json={out}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())["sizes"]["3000"]
    rate, recall = found["systems"]["millstream"]
    assert rate > 0
    assert recall == found["systems"]["NumPy"][1] == 1
    assert {*found["systems"], *found["skipped"]} >= {"hnswlib", "usearch"}
