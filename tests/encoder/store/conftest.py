"""Stores to test with: a folder, memory, and a real S3 server; and small models to publish."""

import itertools
import uuid

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from encoder.model import StaticModel, save_model
from encoder.store.store import ModelStore

S3 = pytest.param("s3", marks=pytest.mark.server)


@pytest.fixture
def new_root(request, tmp_path):
    """The root of a model in a new store of a kind; the folder's path has a space."""

    def new(kind: str) -> str:
        if kind == "folder":
            return (tmp_path / "my store" / "minilm").as_uri()
        bucket = (
            "memory://tests"
            if kind == "memory"
            else f"s3://{request.getfixturevalue('s3_environment').bucket}"
        )
        return f"{bucket}/{uuid.uuid4().hex}/minilm"

    return new


@pytest.fixture(params=["folder", "memory", S3])
def uri(request, new_root):
    """A model's root in a new store of each kind."""
    return new_root(request.param)


@pytest.fixture(params=["folder", S3])
def durable_uri(request, new_root):
    """As `uri`, for tests with several processes."""
    return new_root(request.param)


@pytest.fixture
def store(uri):
    return ModelStore.open(uri)


@pytest.fixture
def make_model(tmp_path):
    """Write a small model folder; models with different values have different tables."""
    counter = itertools.count()

    def make(value: float = 1.0):
        tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
        table = np.full((2, 4), value, np.float32)
        model = StaticModel(table, tokenizer.to_str(), {"normalize": True})
        return save_model(model, tmp_path / f"model-{next(counter)}")

    return make
