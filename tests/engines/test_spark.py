"""`embed` on a real cluster of Spark: a master and two workers, and a driver that is a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults.s3 import lossy_proxy
from patience import PATIENCE
from topics import unique

from encoder import Encoder, ModelStore, load_model, save_model
from encoder.heads.scoring import Classifier
from pipelines import ArrowEmbedder

DRIVER = Path(__file__).with_name("spark_driver.py")
N, FILES = 400, 4
TEXT = "{place.city}: {message}"


@pytest.fixture(scope="module")
def headed(model, tmp_path_factory):
    dim = load_model(model).dim
    weights = np.random.default_rng(3).normal(size=(2, dim)).astype(np.float32)
    head = Classifier("fraud", ("ham", "spam"), weights, np.zeros(2, np.float32))
    return save_model(replace(load_model(model), heads=(head,)), tmp_path_factory.mktemp("headed") / "tiny")


def events():
    message = [None if i % 10 == 3 else f"login failed {i}" for i in range(N)]
    place = [None if i % 10 == 3 else {"city": f"city {i % 7}"} for i in range(N)]
    at = pa.array([1_700_000_000_000_000 + i for i in range(N)], pa.timestamp("us", "UTC"))
    return pa.table({"id": range(N), "message": message, "place": place, "at": at})


@pytest.mark.server
@pytest.mark.usefixtures("s3_environment")
def test_batches_and_streams_get_what_the_embedder_gives(spark, s3, headed, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    table = events()
    for k in range(FILES):
        pq.write_table(table.slice(k * N // FILES, N // FILES), tmp_path / f"in/{k}.parquet")
    name = unique("tiny")
    ref = f"s3://{s3.bucket}/{name}@1"
    ModelStore.open(f"s3://{s3.bucket}/{name}").publish(headed)
    fetched = []

    def count(method, path, status):
        if method == "GET" and status in (200, 206) and "/blobs/" in path:
            fetched.append(path.rpartition("/")[2])
        return ""

    with lossy_proxy(s3.port, count) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        done = subprocess.run(
            [sys.executable, DRIVER, ref, tmp_path / "in", tmp_path / "out"],
            env={**os.environ, **spark.environment(), "MILLSTREAM_CACHE": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    said = json.loads(done.stdout.splitlines()[-1])
    expected = ArrowEmbedder(str(headed), TEXT)(table)
    for output, heads in (("batch", ["fraud_label", "fraud_score"]), ("stream", [])):
        found = pq.read_table(tmp_path / "out" / output).sort_by("id")
        assert found.column_names == [*table.column_names, "embedding", "model_version", *heads]
        at = found["at"].cast(table.schema.field("at").type)  # Spark writes nanoseconds
        found = found.set_column(found.column_names.index("at"), "at", at)
        for column in (*table.column_names, "embedding", *heads):
            assert found[column].to_pylist() == expected[column].to_pylist(), (output, column)
        assert found["model_version"].to_pylist() == [
            None if text is None else f"{name}@1" for text in table["message"].to_pylist()
        ]
    small = (
        pq.read_table(tmp_path / "out/small").sort_by("id").filter(pa.array([i % 10 != 3 for i in range(N)]))
    )
    halves = np.frombuffer(b"".join(small["embedding"].to_pylist()), np.float16).reshape(len(small), -1)
    texts = [f"city {i % 7}: login failed {i}" for i in range(N) if i % 10 != 3]
    assert np.array_equal(halves, Encoder.load(headed).encode(texts, dtype="float16"))
    kinds = {"model_version": "string", "fraud_label": "string", "fraud_score": "float"}
    assert said["schema"] == {"embedding": "binary", **kinds}
    assert said["cores"] == 2
    assert said["errors"]["missing"].startswith(
        "TemplateError: there is no column 'massage': use one of id, "
    )
    assert said["errors"]["added"].startswith("ConfigurationError: there is a column 'model_version', and")
    assert said["errors"]["half"].startswith("ConfigurationError: Spark has no float16: ")
    assert {fetched.count(blob) for blob in fetched} == {2}, "once by the driver, once by the two executors"
