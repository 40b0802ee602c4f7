"""`millstream models push`, by huggingface_hub itself, to a server that speaks the Hub's upload."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hub import TOKEN, hub
from patience import PATIENCE
from tiny_tokenizers import named
from typer.testing import CliRunner

from encoder.errors import ConfigurationError, ModelFormatError
from encoder.heads.scoring import Prototypes
from encoder.model import StaticModel, load_model, save_model
from encoder.store.store import ModelStore
from pipelines.cli.app import app

CARD = "---\nlibrary_name: model2vec\n---\n\n# tiny\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with a version that has a card and a report; gives its URI."""
    root = tmp_path_factory.mktemp("push")
    table = (
        np.random.default_rng(0).standard_normal((named("uncased").get_vocab_size(), 8)).astype(np.float32)
    )
    model = StaticModel(table, named("uncased").to_str(), {"normalize": True})
    save_model(model, root / "tiny", readme=CARD, more={"report.html": "<p>records"})
    save_model(model, root / "bare")
    ModelStore.open(str(root / "store/tiny")).publish(root / "tiny")
    return root / "store/tiny"


@pytest.fixture
def server():
    with hub() as server:
        yield server


def push(store, server, *arguments, token=TOKEN):
    """Run the command in a process of its own: huggingface_hub reads its environment when it is imported."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {
        "HF_ENDPOINT": server if isinstance(server, str) else server.address,
        "HF_HOME": str(store.parent / "hf"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "1",  # its chunks need the Hub's own store; without it files go by LFS
        "MILLSTREAM_CACHE": str(store.parent / "cache"),
    }
    if token:
        environment["HF_TOKEN"] = token
    command = [sys.executable, "-m", "pipelines", "models", "push", f"{store}@1", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )


@pytest.mark.slow
def test_a_version_is_one_commit_that_loads_as_a_model(store, server, tmp_path):
    done = push(store, server, "org/tiny")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{server.address}/org/tiny/commit/{'1' * 40}"
    assert server.repositories == {"org/tiny": True}
    (files,) = server.commits["org/tiny"]
    published = {file.path for file in ModelStore.open(str(store)).manifest(1).files}
    assert set(files) == published - {"report.html"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert load_model(tmp_path).dim == 8
    assert set(server.cards) == {CARD}  # checked before the commit, once or twice
    assert server.messages["org/tiny"][0].startswith("tiny version 1 (sha256:")


@pytest.mark.slow
def test_public_and_the_report_are_asked_for(store, server):
    done = push(store, server, "org/tiny", "--public", "--with-report", "--message", "mine")
    assert done.returncode == 0, done.stderr
    assert server.repositories == {"org/tiny": False}
    assert server.commits["org/tiny"][0]["report.html"] == b"<p>records"
    assert server.messages["org/tiny"] == ["mine"]
    again = push(store, server, "org/tiny")
    assert again.returncode == 0, again.stderr
    assert server.repositories == {"org/tiny": False}  # what is there keeps its visibility
    assert len(server.commits["org/tiny"]) == 2


@pytest.mark.slow
def test_a_push_removes_what_an_earlier_one_left_and_does_not_fit(store, server, tmp_path):
    headed = tmp_path / "store/tiny"
    model = load_model(store.parent.parent / "tiny")
    head = Prototypes("kind", ("a", "b"), np.eye(2, 8, dtype=np.float32), 0.5)
    with_head = replace(model, table=model.table[:, ::-1].copy(), heads=(head,))
    more = {"report.html": "<p>records", "LICENSE": "theirs"}
    save_model(with_head, tmp_path / "tiny", readme=CARD, more=more)
    ModelStore.open(str(headed)).publish(tmp_path / "tiny")
    assert push(headed, server, "org/tiny", "--with-report").returncode == 0
    assert {"heads/kind.safetensors", "report.html", "LICENSE"} < set(server.contents["org/tiny"])
    done = push(store, server, "org/tiny")
    assert done.returncode == 0, done.stderr
    assert len(server.commits["org/tiny"]) == 2
    left = server.contents["org/tiny"]
    published = {file.path for file in ModelStore.open(str(store)).manifest(1).files}
    assert set(left) == published - {"report.html"} | {"LICENSE"}  # which is none of a model's files
    for name, data in left.items():
        (tmp_path / "pulled" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "pulled" / name).write_bytes(data)
    assert np.array_equal(load_model(tmp_path / "pulled").table, model.table)


@pytest.mark.slow
def test_a_wrong_token_is_wrong_use(store, server):
    done = push(store, server, "org/tiny", token="hf_wrong")
    assert done.returncode == 2
    assert "check HF_TOKEN and its rights" in done.stderr
    assert server.repositories == {}
    assert push(store, server, "org/tiny", token=None).returncode == 2


@pytest.mark.slow
def test_a_hub_that_is_not_there_is_a_failure(store):
    done = push(store, "http://127.0.0.1:9", "org/tiny")
    assert done.returncode == 1
    assert "cannot reach the Hub" in done.stderr
    assert "Traceback" not in done.stderr


def run(*arguments):
    result = CliRunner().invoke(app, ["models", "push", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_dry_run_names_the_files_and_asks_nobody(store, monkeypatch, tmp_path):
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path))
    shown = run(f"{store}@1", "org/tiny", "--dry-run").stdout
    assert "model.safetensors" in shown
    assert "README.md" in shown
    assert "report.html" not in shown
    assert shown.splitlines()[-1].endswith("files to org/tiny")


def test_what_cannot_be_pushed_is_refused(store):
    with pytest.raises(ConfigurationError, match="write OWNER/NAME"):
        run(store.parent.parent / "tiny", "tiny")
    with pytest.raises(ModelFormatError, match="no README"):
        run(store.parent.parent / "bare", "org/tiny")
    with pytest.raises(ModelFormatError, match="no model folder"):
        run(store.parent / "missing", "org/tiny")
