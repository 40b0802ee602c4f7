import json

import numpy as np
import pytest
import tiny_tokenizers
from typer.testing import CliRunner

from encoder.errors import ConfigurationError, NotInStore
from encoder.model import StaticModel, save_model
from encoder.store.store import ModelStore
from encoder.warm import Warmed
from pipelines.cli.app import app


@pytest.fixture
def ref(tmp_path, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path / "cache"))
    tokenizer = tiny_tokenizers.named("uncased")
    table = np.ones((tokenizer.get_vocab_size(), 4), np.int8)
    folder = save_model(StaticModel(table, tokenizer.to_str()), tmp_path / "model")
    store = ModelStore.open(str(tmp_path / "store/minilm"))
    store.publish(folder)
    return f"{tmp_path}/store/minilm@1"


@pytest.mark.slow
def test_the_folder_of_the_code_is_said_and_the_version_fetched(ref, tmp_path):
    done = CliRunner().invoke(app, ["warm", ref])
    assert done.exit_code == 0, done.output
    assert "compiled code: " in done.stdout
    assert f"{ref} (sha256:" in done.stdout
    [folder] = (tmp_path / "cache/models").iterdir()
    assert (folder / "model.safetensors").is_file()
    [mark] = (tmp_path / "cache/tried").iterdir()  # a worker that starts with it need not try it
    assert mark.name.startswith(folder.name)


@pytest.mark.slow
def test_the_outcome_is_json_for_scripts(ref):
    CliRunner().invoke(app, ["warm"])
    outcome = json.loads(CliRunner().invoke(app, ["warm", ref, "--json"]).stdout)
    assert outcome["compiled"] == 0
    assert outcome["seconds"] >= 0
    assert len(outcome["folders"]) == 1
    assert outcome["model"].startswith(ref)


@pytest.mark.slow
def test_a_version_that_is_not_there_is_named(ref):
    done = CliRunner().invoke(app, ["warm", ref.replace("@1", "@2")])
    assert isinstance(done.exception, NotInStore)


def test_code_that_cannot_be_kept_fails(monkeypatch):
    monkeypatch.setattr("encoder.warm.warm_kernels", lambda: Warmed(3, 0.1, [], "any"))
    done = CliRunner().invoke(app, ["warm"])
    assert isinstance(done.exception, ConfigurationError)
    assert "NUMBA_CACHE_DIR" in str(done.exception)
