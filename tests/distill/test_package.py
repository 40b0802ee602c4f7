"""The public API, and the example in the package's docstring."""

import subprocess
import sys
import textwrap

import distill
from encoder.model import load_model


def test_the_public_names_are_there():
    assert {"distill", "DistillationResult", "CorpusReport"} <= set(distill.__all__)
    assert all(hasattr(distill, name) for name in distill.__all__)


def test_the_example_runs(wordpiece_teacher, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sentence-transformers").mkdir()
    (tmp_path / "sentence-transformers/all-MiniLM-L6-v2").symlink_to(wordpiece_teacher)  # before the Hub
    indented = [line for line in distill.__doc__.splitlines() if line.startswith("    ") or not line]
    names = {}
    exec(textwrap.dedent("\n".join(indented)), names)
    assert names["vectors"].shape == (2, 32)  # the tiny teacher's dimensions
    assert load_model(tmp_path / "minilm").dim == 32


def test_heads_evaluation_and_reports_load_no_torch():
    code = "import sys, distill.heads, distill.evaluation, distill.report; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
