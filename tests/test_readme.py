"""The README's commands are run word for word, in its order, in one empty folder."""

import re
import subprocess
import sys

import pytest
from pages import ROOT, examples, run_examples

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = examples(README)
BY_CI = re.compile(r"^(make|pip install) .*", re.MULTILINE)  # set up and run by .ci/run itself


def test_ci_runs_what_this_test_leaves_out():
    left_out = [
        line.split("#")[0].strip()
        for example in EXAMPLES
        for line in example.code.splitlines()
        if BY_CI.match(line)
    ]
    ci, makefile = (ROOT / ".ci/run").read_text(), (ROOT / "Makefile").read_text()
    for command in left_out:
        if command.startswith("make"):
            assert command in ci
        else:
            extra = re.search(r"\[(\w+)\]", command)
            assert "--editable '.[dev]'" in makefile
            assert extra is None or extra[1] in ("beam", "demo", "kafka")  # parts of dev


def test_every_command_of_the_command_line_is_in_the_readme():
    shown = subprocess.run(
        [sys.executable, "-m", "pipelines", "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = re.findall(r"^│ ([a-z]+) ", shown, re.MULTILINE)
    assert {"backfill", "demo", "distill", "models"} <= set(commands)
    for command in commands:
        assert f"millstream {command}" in README or f"make {command}" in README


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.slow
def test_the_commands_run(tmp_path):
    printed = "".join(run_examples([one for one in EXAMPLES if not BY_CI.match(one.code)], tmp_path))
    lines = printed.splitlines()
    assert "(1, 64)" in lines
    assert any(line.startswith("(4, 256)") for line in lines)
    assert any("disk is full" in line for line in lines)
    dead = (tmp_path / "vectors/dead_letters").glob("*.jsonl")
    assert '"row":3' in next(dead).read_text()
    assert len(list((tmp_path / "windows").glob("window-*.parquet"))) == 2
    assert list((tmp_path / "scored").glob("*.parquet"))
