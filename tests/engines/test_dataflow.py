"""Dataflow, as far as it goes without an account: the image's Python, its launchers, its entry point.

The environment is what the Dockerfile installs, the launchers run as the Flex Template's does, with Cloud
Storage emulated, up to the job that the service would be sent; and Beam's own entry point, built from its
source, starts workers out of that environment for a job on Prism.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from downloads import beam_boot, python_environment
from engines.cloud import BUCKET, google_cloud
from engines.processes import Server
from patience import PATIENCE
from servers import free_ports

pytestmark = [pytest.mark.server, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
IMAGE = "europe-docker.pkg.dev/project/repository/millstream:1"
EMULATOR = "gcp-storage-emulator==2026.7.19"
EVENTS = ['{"id": 1, "text": "card stolen"}', '{"id": 2, "text": "disk full"}', '{"id": 3, "text": null}']
LAUNCH = [
    *("--runner=DataflowRunner", "--project=project", "--region=europe-west1", "--job_name=job"),
    *(f"--temp_location=gs://{BUCKET}/tmp", f"--staging_location=gs://{BUCKET}/staging"),
    f"--template_location=gs://{BUCKET}/launch/job_object",
    "--number_of_worker_harness_threads=4",
]
METADATA = """
import json, sys
from pathlib import Path
from google.cloud.dataflow_v1beta3.types import TemplateMetadata
for path in sys.argv[1:]:
    TemplateMetadata.from_json(Path(path).read_text())  # refuses fields and values that it does not know
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """What the Dockerfile installs: the Python, and the folder of the wheel."""
    dockerfile = (ROOT / "deploy/dataflow/Dockerfile").read_text()
    extras = re.search(r"millstream-\*\.whl\)\[([a-z,]+)\]", dockerfile)[1].split(",")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = [
        *project["dependencies"],
        *(one for extra in extras for one in project["optional-dependencies"][extra]),
    ]
    python = python_environment("dataflow", [*needs, EMULATOR], ROOT / "constraints.txt")
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    [wheel] = folder.glob("millstream-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    variables = {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "site"),
        "NUMBA_CACHE_DIR": str(python.parents[1] / "kernels"),  # compiled once, as in the image
        "MILLSTREAM_CACHE": str(folder / "cache"),
        "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",
    }
    return SimpleNamespace(python=python, environment={**os.environ, **variables})


@pytest.fixture(scope="module")
def cloud(image):
    with google_cloud(image.python) as variables:
        yield variables


@pytest.fixture
def events(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "events.jsonl").write_text("\n".join(EVENTS))
    return folder


@pytest.fixture
def launched(image, cloud, tmp_path):
    """Run a launcher as the service does; the job that it made, and its pipeline as bytes."""

    def launch(template, *parameters):
        done = subprocess.run(
            [image.python, ROOT / "deploy/dataflow/launcher.py", *map(str, parameters), *LAUNCH],
            env={**image.environment, **cloud, "MILLSTREAM_IMAGE": IMAGE, "MILLSTREAM_TEMPLATE": template},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        job = json.loads(stored(cloud, f"gs://{BUCKET}/launch/job_object"))
        return job, stored(cloud, job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"])

    return launch


def stored(cloud, uri):
    bucket, name = uri.removeprefix("gs://").split("/", 1)
    address = f"{cloud['STORAGE_EMULATOR_HOST']}/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
    with urllib.request.urlopen(f"{address}?alt=media") as answer:
        return answer.read()


def checked(pipeline, model):
    """The names of the steps, after what holds for every pipeline of ours."""
    found = beam_runner_api_pb2.Pipeline.FromString(pipeline)
    [environment] = found.components.environments.values()
    payload = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
    assert payload.container_image == IMAGE
    assert len(pipeline) < 200_000  # of 10 MB that a job may have
    weights = (model / "model.safetensors").read_bytes()
    assert weights[-64:] not in pipeline  # the tail of the table
    assert len(weights) > len(pipeline)
    return {transform.unique_name for transform in found.components.transforms.values()}


def test_the_metadata_is_what_the_api_takes(image):
    files = [ROOT / f"deploy/dataflow/{name}.json" for name in ("backfill", "stream")]
    subprocess.run([image.python, "-c", METADATA, *files], env=image.environment, check=True)


def test_the_image_has_no_torch(image):
    program = "import importlib.util as u; print([m for m in ('torch', 'transformers') if u.find_spec(m)])"
    done = subprocess.run(
        [image.python, "-c", program], env=image.environment, capture_output=True, check=True
    )
    assert done.stdout.split() == [b"[]"]


def test_the_template_backfill_makes_a_job(launched, events, model, tmp_path):
    output = tmp_path / "out"
    job, pipeline = launched(
        "backfill", f"--model={model}", f"--input={events}", f"--output={output}", "--text=text", "--keep=id"
    )
    steps = checked(pipeline, model)
    assert {"Inputs", "Spread inputs", "Split", "Spread splits", "Read", "Embed", "Sum", "Summary"} <= steps
    assert job["type"] == "JOB_TYPE_BATCH"
    environment = job["environment"]
    assert "no_use_multiple_sdk_containers" in environment["experiments"]
    [pool] = environment["workerPools"]
    assert pool["numThreadsPerWorker"] == 4
    [container] = pool["sdkHarnessContainerImages"]
    assert container["containerImage"] == IMAGE
    assert json.loads((output / "_job.json").read_text())  # claimed; and nothing ran here
    assert not list(output.glob("*.parquet"))


def test_the_template_stream_makes_a_job(launched, events, model, tmp_path):
    output = tmp_path / "windows"
    job, pipeline = launched(
        "stream", f"--model={model}", f"--input=files:{events}", f"--output=parquet:{output}", "--window=5m"
    )
    steps = checked(pipeline, model)
    assert {"Read", "Cut", "Files", "Files/Gather", "Files/Write"} <= steps
    assert job["type"] == "JOB_TYPE_STREAMING"
    options = job["environment"]["sdkPipelineOptions"]["options"]
    assert options["streaming"]
    assert "finish_bundle_before_checkpointing" not in options  # Flink's


def test_the_entry_point_starts_workers_of_the_image(
    image, prism_options, millstream, events, model, tmp_path
):
    """The pool of workers as the entry point starts it with `--worker_pool`, and itself for each worker."""
    boot = beam_boot()
    [port] = free_ports(1)
    pool = [image.python, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    workers = Server("workers", [*pool, f"--container_executable={boot}"], tmp_path, port, image.environment)
    try:
        workers.wait()
        elsewhere = ["--environment_type=EXTERNAL", f"--environment_config=127.0.0.1:{port}"]
        engine = [one for one in prism_options if not one.startswith("--environment_type")]
        outputs = [tmp_path / name for name in ("there", "here")]
        for output, beams in zip(outputs, (["--", *engine, *elsewhere], []), strict=True):
            process = millstream(
                "backfill", f"--model={model}", f"--input={events}", f"--output={output}", *beams
            )
            _, said = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, f"{said[-2000:]}\n{workers.text()[-3000:]}"
        there, here = (pq.read_table(output) for output in outputs)
        assert there.equals(here)
        assert there["id"].to_pylist() == [1, 2]
        assert "Starting worker with command" in workers.text()
        assert str(boot) in workers.text()
    finally:
        workers.kill()
