"""`millstream models report`."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from tiny_tokenizers import named
from typer.testing import CliRunner

from distill import evaluation
from distill.report.vocabulary import frequent_words
from encoder import atomic_files as files
from encoder.errors import ConfigurationError, InputError, OutputConflict
from encoder.model import StaticModel, load_model, save_model
from encoder.store.store import ModelStore
from pipelines.cli.app import app


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def store(tmp_path):
    """A store with a version without a report, and one with."""
    table = (
        np.random.default_rng(0).standard_normal((named("uncased").get_vocab_size(), 8)).astype(np.float32)
    )
    model = StaticModel(table, named("uncased").to_str(), {"normalize": True})
    opened = ModelStore.open(str(tmp_path / "store/tiny"))
    for name, more in (("bare", {}), ("with", {"report.html": "<p>the page"})):
        save_model(model, tmp_path / name, more=more)
        opened.publish(tmp_path / name, teacher="a-teacher", parameters={"dims": 8})
    return tmp_path / "store/tiny"


def run(*arguments):
    result = CliRunner().invoke(app, ["models", "report", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_published_page_is_written_out(store, tmp_path):
    result = run(f"{store}@2", "--output", tmp_path / "page.html")
    assert result.stdout.strip() == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "<p>the page"
    with pytest.raises(OutputConflict, match="already exists"):
        run(f"{store}@2", "--output", tmp_path / "page.html")


@pytest.mark.slow
def test_with_sets_a_new_page_is_made(store, tmp_path):
    rows = [{"text": f"disk server {i}", "kind": i % 2} for i in range(40)]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, rows)))
    own = ("--input", tmp_path / "records.jsonl", "--label", "kind", "--report-records", 20)
    run(f"{store}@1", "--output", tmp_path / "page.html", "--against", tmp_path / "with", *own)
    page = (tmp_path / "page.html").read_text()
    for text in ("<h1>tiny@1</h1>", "knn · records", "overlap@10 · records", "a-teacher", "tiny@1"):
        assert text in page
    assert page.count('"t": "disk server') == 20


@pytest.mark.slow
def test_a_version_without_a_page_is_given_one_without_figures(store, tmp_path):
    run(f"{store}@1", "--output", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    for text in ("<h1>tiny@1</h1>", "Not measured", "a-teacher", "<th>dims</th><td><code>8</code></td>"):
        assert text in page
    run(tmp_path / "bare", "--output", tmp_path / "folder.html")
    page = (tmp_path / "folder.html").read_text()
    assert "<h1>bare</h1>" in page
    assert "<th>normalize</th><td><code>true</code></td>" in page


@pytest.mark.slow
def test_a_page_made_anew_has_the_heads(store, tmp_path):
    rows = [{"text": f"disk server {i}", "kind": "disk"} for i in range(5)]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, rows)))
    records = ("--input", str(tmp_path / "records.jsonl"))
    head = ("--label", "kind", "--name", "near", "--publish")
    fitted = CliRunner().invoke(app, ["head", "fit", "prototypes", "--model", f"{store}@1", *records, *head])
    assert fitted.exit_code == 0, fitted.output
    n_words = len(frequent_words(load_model(tmp_path / "bare")))
    for name, n_points, sets in (("words", n_words, ()), ("records", 5, records)):
        run(f"{store}@3", "--output", tmp_path / f"{name}.html", *sets)
        page = (tmp_path / f"{name}.html").read_text()
        assert "<td>near</td><td>prototypes</td>" in page
        assert f"<h2>Map of {n_points} {name}" in page


def test_the_model_is_in_a_page_that_asks_for_it(store, tmp_path):
    run(f"{store}@1", "--output", tmp_path / "page.html", "--report-model")
    page = (tmp_path / "page.html").read_text()
    assert page.count('class="model"') == 3
    assert "connect-src" not in page


def test_a_published_page_takes_the_model_and_an_older_one_does_not(store, tmp_path):
    run(f"{store}@1", "--output", tmp_path / "page.html")
    model = load_model(tmp_path / "bare")
    save_model(model, tmp_path / "newer", more={"report.html": (tmp_path / "page.html").read_text()})
    ModelStore.open(str(store)).publish(tmp_path / "newer")
    run(f"{store}@3", "--output", tmp_path / "live.html", "--report-model")
    assert (tmp_path / "live.html").read_text().count('class="model"') == 3
    with pytest.raises(ConfigurationError, match="an older release made the report"):
        run(f"{store}@2", "--output", tmp_path / "none.html", "--report-model")
    assert not (tmp_path / "none.html").exists()


def test_a_head_that_is_fitted_joins_the_model_in_the_page(store, tmp_path):
    run(f"{store}@1", "--output", tmp_path / "page.html", "--report-model")
    model = load_model(tmp_path / "bare")
    save_model(model, tmp_path / "live", more={"report.html": (tmp_path / "page.html").read_text()})
    ModelStore.open(str(store)).publish(tmp_path / "live")
    rows = [{"text": f"disk server {i}", "kind": "disk"} for i in range(5)]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, rows)))
    head = ("--input", str(tmp_path / "records.jsonl"), "--label", "kind", "--name", "near", "--publish")
    fitted = CliRunner().invoke(app, ["head", "fit", "prototypes", "--model", f"{store}@3", *head])
    assert fitted.exit_code == 0, fitted.output
    run(f"{store}@4", "--output", tmp_path / "heads.html")
    page = (tmp_path / "heads.html").read_text()
    assert 'data-path="heads/near.safetensors"' in page
    assert page.count('class="model"') == 4


def test_a_new_page_needs_sets(store, tmp_path):
    with pytest.raises(ConfigurationError, match="a new report needs evaluation sets"):
        run(f"{store}@1", "--output", tmp_path / "page.html", "--report-records", 5)
    assert not (tmp_path / "page.html").exists()


def test_a_page_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("missing", "file"):
        with pytest.raises(
            ConfigurationError, match=rf"page\.html: .*/{folder} is not a folder; make it, or name"
        ):
            run(tmp_path / "no model", "--output", tmp_path / folder / "page.html")


def test_sets_that_measure_nothing_are_refused_before_a_model_is_opened(store, tmp_path, monkeypatch):
    rows = [{"text": f"disk server {i}", "kind": "disk"} for i in range(5)]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setattr(evaluation, "open_model", lambda *_, **__: pytest.fail("a model was opened"))
    own = ("--input", tmp_path / "records.jsonl", "--output", tmp_path / "page.html")
    with pytest.raises(InputError, match="5 texts are too few"):
        run(f"{store}@1", *own, "--against", tmp_path / "with")
    with pytest.raises(InputError, match="5 records have 1 labels"):
        run(f"{store}@1", *own, "--label", "kind")


def test_half_a_page_is_not_left(store, tmp_path, monkeypatch):
    sync = os.fsync

    def full(descriptor):
        if "/pages/" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    (tmp_path / "pages").mkdir()
    with pytest.raises(OSError, match="No space left"):
        run(f"{store}@2", "--output", tmp_path / "pages/page.html")
    assert list((tmp_path / "pages").iterdir()) == []
