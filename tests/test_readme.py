"""The README's commands are run word for word, in its order, in one empty folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE
from shared import environment

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
BY_CI = re.compile(r"^(make|pip install) .*", re.MULTILINE)  # set up and run by .ci/run itself


def test_ci_runs_what_this_test_leaves_out():
    left_out = [
        line.split("#")[0].strip() for _, block in BLOCKS for line in block.splitlines() if BY_CI.match(line)
    ]
    ci, makefile = (ROOT / ".ci/run").read_text(), (ROOT / "Makefile").read_text()
    for command in left_out:
        if command.startswith("make"):
            assert command in ci
        else:
            extra = re.search(r"\[(\w+)\]", command)
            assert "--editable '.[dev]'" in makefile
            assert extra is None or extra[1] in ("beam", "distill")  # parts of dev


def test_every_command_of_the_command_line_is_in_the_readme():
    shown = subprocess.run(
        [sys.executable, "-m", "pipelines", "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = re.findall(r"^│ ([a-z]+) ", shown, re.MULTILINE)
    assert {"backfill", "demo", "distill", "models"} <= set(commands)
    for command in commands:
        assert f"millstream {command}" in README or f"make {command}" in README


@pytest.mark.slow
def test_the_commands_run(tmp_path):
    script = ["set -euo pipefail"]
    for language, block in BLOCKS:
        if language == "python":
            script.append(f"python - <<'END'\n{block}END")
        elif not BY_CI.match(block):
            script.append(block)
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert {"(1, 64)", "(1, 32)", "(2,) [0, 2] (2, 256)"} <= set(lines)
    assert "(4, 256)" in done.stdout
    assert "['id', 'merchant', 'embedding', 'model_version'] minilm@1 2" in done.stdout
    dead = (tmp_path / "vectors/dead_letters").glob("*.jsonl")
    assert '"row":3' in next(dead).read_text()
