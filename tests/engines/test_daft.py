"""`embed` in queries of Daft."""

import importlib

import numpy as np
import pyarrow as pa
import pytest
from downloads import daft as daft_packages

from encoder import Encoder
from encoder.errors import TemplateError
from pipelines import ArrowEmbedder


@pytest.fixture
def daft(monkeypatch):
    monkeypatch.syspath_prepend(str(daft_packages()))
    return importlib.import_module("daft")


@pytest.mark.server
def test_columns_are_those_of_the_embedder(daft, model):
    from pipelines.dataframes.daft import embed

    ref, texts = str(model), ["login failed", None, "card used in tokyo", "order paid"]
    table = pa.table({"id": range(4), "message": texts, "place": [{"city": c} for c in "abcd"]})
    frame = daft.from_arrow(table)
    found = frame.select("id", embed("message", ref)).sort("id").to_arrow()
    expected = ArrowEmbedder(ref, "message")(table)
    assert found.column_names == ["id", "embedding", "model_version"]
    for name in found.column_names:
        assert found[name].to_pylist() == expected[name].to_pylist(), name
    both = frame.select(embed("{place.city} {id}", ref, vectors="binary", dtype="int8")).to_arrow()
    vectors = np.frombuffer(b"".join(both["embedding"].to_pylist()), np.int8).reshape(4, -1)
    wanted = Encoder.load(ref).encode([f"{city} {i}" for i, city in enumerate("abcd")], dtype="int8")
    assert sorted(vectors.tolist()) == sorted(wanted.tolist())
    with pytest.raises(TemplateError, match=r"no column .place\.town.: use one of"):
        frame.select(embed("place.town", ref)).collect()
