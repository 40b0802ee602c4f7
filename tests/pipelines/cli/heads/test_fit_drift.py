"""`millstream head fit drift` as a person calls it."""

import json

import pyarrow.parquet as pq
import pytest

from encoder.store.store import ModelStore


@pytest.mark.slow
def test_a_baseline_is_published_and_adds_no_column(millstream, backfill, model, tmp_path):
    store = ModelStore.open((tmp_path / "store/tiny").as_uri())
    store.publish(model)
    rows = [{"id": i, "text": f"{('card paid', 'login failed')[i % 2]} {i % 90}"} for i in range(600)]
    path = tmp_path / "usual.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ("--model", f"{store.uri}@latest", "--input", path, "--name", "usual", "--publish", "--json")
    made = millstream("head", "fit", "drift", *options).done()
    assert (made["version"], made["records"]) == (2, 600)
    assert store.manifest().parameters["heads"]["usual"]["kind"] == "drift"
    [head] = json.loads(millstream("head", "list", f"{store.uri}@2", "--json").data)
    assert (head["columns"], head["rate"]) == ({}, 0.001)
    refused = millstream("head", "evaluate", f"{store.uri}@2", "--name", "usual", "--input", path)
    assert (refused.code, "millstream evaluate --drift" in refused.err) == (2, True)
    assert backfill(path, tmp_path / "out", ref=f"{store.uri}@2").code == 0
    assert pq.read_table(tmp_path / "out").column_names == ["id", "text", "embedding", "model_version"]
