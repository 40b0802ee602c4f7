"""`ArrowEmbedder` in Ray Data, in `make soak` alone: on a busy machine Ray gives up its own start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from downloads import ray as ray_packages
from patience import PATIENCE

from pipelines import ArrowEmbedder

ROOT = Path(__file__).parents[2]
DRIVER = """
import json, sys
import pyarrow as pa
import ray
from pipelines import ArrowEmbedder

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
events = ray.data.from_arrow([pa.table({"id": [i], "text": [f"login failed {i}"]}) for i in range(8)])
vectors = events.map_batches(ArrowEmbedder(sys.argv[1], keep=["id"]), batch_format="pyarrow")
rows = [{**row, "embedding": row["embedding"].tolist()} for row in vectors.take_all()]
print(json.dumps(sorted(rows, key=lambda row: row["id"])))
"""


@pytest.mark.soak
def test_rows_get_what_the_embedder_gives(model, tmp_path):
    path = os.pathsep.join([str(ROOT), str(ray_packages())])
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(model)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    table = pa.table({"id": range(8), "text": [f"login failed {i}" for i in range(8)]})
    expected = ArrowEmbedder(str(model), keep=["id"])(table)
    assert json.loads(done.stdout.splitlines()[-1]) == expected.to_pylist()
