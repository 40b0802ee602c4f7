"""The public API, and the example in the package's docstring."""

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
