"""The engines, started once for all tests, a tiny model, and the command line in a process of its own."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tiny_tokenizers
from engines.flink import flink
from engines.prism import prism
from patience import PATIENCE

from encoder.model import StaticModel, save_model
from encoder.store.store import ModelStore

DIM = 16


@pytest.fixture(scope="session")
def flink_cluster():
    with flink() as cluster:
        yield cluster


@pytest.fixture
def flink_options(flink_cluster):
    yield flink_cluster.options
    flink_cluster.cancel_jobs()


@pytest.fixture(scope="session")
def prism_options():
    with prism() as options:
        yield options


@pytest.fixture(scope="session")
def tiny_model():
    """A model with 16 dimensions, drawn anew for each seed."""

    def make(folder, seed=7):
        tokenizer = tiny_tokenizers.named("uncased")
        table = np.random.default_rng(seed).normal(size=(tokenizer.get_vocab_size(), DIM)).astype(np.float32)
        return save_model(StaticModel(table, tokenizer.to_str(), {"normalize": True}), folder)

    return make


@pytest.fixture(scope="session")
def model(tiny_model, tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def store(model, tmp_path):
    """A store with one version of the model."""
    store = ModelStore.open(str(tmp_path / "store/tiny"))
    store.publish(model)
    return store


@pytest.fixture
def millstream():
    """Start `millstream …` in a process of its own, which does not outlive the test."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def done():
    """Wait until a command has ended well; what it says as JSON."""

    def wait(process):
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err[-3000:]
        return json.loads(out)

    return wait
