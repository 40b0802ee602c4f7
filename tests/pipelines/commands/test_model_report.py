"""`millstream models report`."""

import json

import numpy as np
import pytest
from tiny_tokenizers import named
from typer.testing import CliRunner

from encoder.errors import ConfigurationError, NotInStore, OutputConflict
from encoder.model import StaticModel, save_model
from encoder.store.store import ModelStore
from pipelines.cli import app


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
    with pytest.raises(OutputConflict, match="exists already"):
        run(f"{store}@2", "--output", tmp_path / "page.html")


def test_with_sets_a_new_page_is_made(store, tmp_path):
    rows = [{"text": f"disk server {i}", "kind": i % 2} for i in range(40)]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, rows)))
    own = ("--input", tmp_path / "records.jsonl", "--label", "kind", "--report-records", 20)
    run(f"{store}@1", "--output", tmp_path / "page.html", "--against", tmp_path / "with", *own)
    page = (tmp_path / "page.html").read_text()
    for text in ("<h1>tiny@1</h1>", "knn · records", "overlap@10 · records", "a-teacher", "tiny@1"):
        assert text in page
    assert page.count('"t": "disk server') == 20


def test_without_a_page_and_without_sets_there_is_nothing_to_write(store, tmp_path):
    with pytest.raises(NotInStore, match="has no report: give --input or --sts"):
        run(f"{store}@1", "--output", tmp_path / "page.html")
    with pytest.raises(ConfigurationError, match="a new report needs sets"):
        run(f"{store}@1", "--output", tmp_path / "page.html", "--report-records", 5)
    assert not (tmp_path / "page.html").exists()
