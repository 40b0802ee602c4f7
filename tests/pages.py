"""The examples of a page of documentation.

Blocks of `sh` and `python` are run; a block of `output` shows what the one before it prints.
"""

import re
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path

from patience import PATIENCE
from shared import environment

__all__ = ["ROOT", "Example", "examples", "expects", "run_examples"]

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass
class Example:
    """A block that is run.

    Attributes:
        language: `sh` or `python`.
        code: what is run.
        line: where the block begins in the page.
        output: the block of `output` that follows it, if there is one.
    """

    language: str
    code: str
    line: int
    output: str | None = None


def examples(text):
    """The blocks of a page that are run."""
    found = []
    for block in _BLOCK.finditer(text):
        language, body = block[2], textwrap.dedent(block[3])
        if language in ("sh", "python"):
            found.append(Example(language, body, text.count("\n", 0, block.start()) + 1))
        elif language == "output":
            assert found, "a block of output stands behind the block that prints it"
            assert found[-1].output is None, "a block that is run has one block of output"
            found[-1].output = body
    return found


def run_examples(found, folder, **variables):
    """Run examples in one shell, one after the other; what each printed."""
    script = [
        "set -euo pipefail",
        "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT",
    ]  # they hold the output open
    for example in found:
        script.append(
            f"python - <<'END'\n{example.code}END" if example.language == "python" else example.code
        )
        script.append("printf '\\036'")
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env={**environment(folder), "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE * len(found),
        check=False,
    )
    printed = done.stdout.split("\036")
    if done.returncode:
        failed = found[len(printed) - 1]
        raise AssertionError(f"the block of line {failed.line} failed:\n{done.stdout}\n{done.stderr}")
    return printed[:-1]


def expects(output, printed, *, loosely=False):
    """Whether a program printed what a block of `output` shows; `…` stands for anything, also for lines.

    Loosely, a number stands for any number, and spaces for any number of spaces.
    """
    lines = [r"(?:.*\n)*?" if line == "…" else _line(line, loosely) for line in output.splitlines()]
    return (
        re.fullmatch("".join(lines), "".join(f"{line.rstrip()}\n" for line in printed.splitlines()))
        is not None
    )


def _line(line, loosely):
    words = line.strip() if loosely else line.rstrip()
    pattern = ".*?".join(re.escape(part) for part in words.split("…")) + r"\n"
    if loosely:
        pattern = " *" + re.sub(r"(?:\\ )+", " +", pattern)
        pattern = re.sub(r"\d(?:[\d,]|\\\.)*", r"[\\d,.]+", pattern)
    return pattern
