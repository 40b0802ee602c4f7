"""The image, built by its own steps: what is in it, what is not, and a worker in it."""

import json
import os
import shutil
import signal
import subprocess
import urllib.request
from importlib.metadata import distributions
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from images import build, can_build, instructions
from packaging.utils import canonicalize_name
from patience import PATIENCE
from servers import free_ports
from topics import read_topic, unique, write_topic

from encoder.store.store import ModelStore

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy/image/Dockerfile"
PACKAGES = "confluent_kafka cryptography prometheus_client pip torch transformers apache_beam"
N = 500
MIB = 1 << 20
# Everything is asked in one process: what can be found, what can be written, what encoding compiles.
LOOK = """
import importlib.util, json, os, sys
from encoder import Encoder
from encoder.kernels.compiled import compilations, processor
encoder = Encoder.load(sys.argv[1])
encoder.encode(["paid in lisbon", "é", None])
encoder.encode(["card"], dtype="float16")

def writable(folder):
    try:
        open(f"{folder}/x", "w").close()
    except OSError:
        return False
    return True

print(json.dumps({
    "user": [os.getuid(), os.getgid(), os.getgroups()],
    "packages": [name for name in sys.argv[2].split() if importlib.util.find_spec(name)],
    "writable": [path for path in sys.argv[3].split() if writable(path)],
    "compilations": compilations(),
    "processor": processor(),
}))
"""


def test_the_base_is_named_once_and_what_runs_is_no_root():
    steps = instructions(DOCKERFILE)
    bases = {text.partition(" AS ")[0] for name, text in steps if name == "FROM"}
    assert bases == {"python:${PYTHON}-slim"}
    assert [text for name, text in steps if name == "USER"] == ["10001:10001"]
    assert steps[-2] == ("ENTRYPOINT", '["millstream"]')


def test_the_context_holds_what_is_copied_and_nothing_else():
    kept = {
        line.removeprefix("!")
        for line in DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [text.split() for name, text in instructions(DOCKERFILE) if name == "COPY"]
    assert kept == {source for words in copied if words[0][:2] != "--" for source in words[:-1]}
    assert all((ROOT / name).exists() for name in kept)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    if not can_build():
        assert "CI" not in os.environ, "the image is tested by mounting, which needs root"
        pytest.skip("the image is tested by mounting, which needs root")
    folder = tmp_path_factory.mktemp("image")
    yield build(DOCKERFILE, ROOT, folder)
    shutil.rmtree(folder)


@pytest.fixture
def store(model, tmp_path):
    """A store that others may read, with one version."""
    ModelStore.open(str(tmp_path / "store/tiny")).publish(model)
    for path in (tmp_path / "store", *(tmp_path / "store").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "store"


@pytest.mark.slow
def test_it_holds_what_a_worker_needs_and_nothing_is_compiled(image, store):
    size = sum(path.lstat().st_size for path in image.upper.rglob("*") if not path.is_dir())
    assert size < 550 * MIB
    assert image.ports == [9108]
    mounts = {"/store": store, "/var/cache/millstream": None}
    done = image.run(
        ["-c", LOOK, "/store/tiny@1", PACKAGES, "/ /tmp /opt/millstream /var/cache/millstream"],
        entrypoint=["python"],
        mounts=mounts,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout) == {
        "user": [10001, 10001, []],
        "packages": ["confluent_kafka", "cryptography", "prometheus_client"],
        "writable": ["/var/cache/millstream"],
        "compilations": 0,
        "processor": image.environment["NUMBA_CPU_NAME"],
    }


@pytest.mark.slow
def test_its_bill_of_materials_lists_what_is_in_it(image):
    text = (image.upper / "opt/millstream/sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed = {canonicalize_name(one["name"]): one["version"] for one in json.loads(text)["components"]}
    [packages] = image.upper.glob("opt/millstream/lib/python3*/site-packages")
    there = {canonicalize_name(one.name): one.version for one in distributions(path=[str(packages)])}
    assert listed | {"millstream": there["millstream"]} == there
    lines = (ROOT / "requirements/worker.txt").read_text().splitlines()
    pins = {
        canonicalize_name(line.split("==")[0]): line.split()[0].split("==")[1]
        for line in lines
        if "==" in line
    }
    assert there.items() <= (pins | {"millstream": there["millstream"]}).items()


@pytest.mark.slow
@pytest.mark.server
def test_a_worker_in_it_works_and_ends(image, store, kafka, tmp_path):
    topics = [unique(name) for name in ("in", "out", "dead")]
    for name in topics:
        kafka.create_topic(name, 2)
    [port] = free_ports(1)
    options = {
        "brokers": kafka.address,
        "group": unique("group"),
        "input": topics[0],
        "model": "/store/tiny@latest",
        "output": [f"topic:{topics[1]}", "parquet:/out"],
        "fields": "id:int64,text:string",
        "dead-letters": f"topic:{topics[2]}",
        "listen": f"127.0.0.1:{port}",
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    (tmp_path / "worker.toml").write_text("\n".join(lines))
    mounts = {
        "/etc/millstream/worker.toml": tmp_path / "worker.toml",
        "/store": store,
        "/var/cache/millstream": None,
        "/out": None,
    }
    write_topic(kafka.address, topics[0], [b'{"id": %d, "text": "paid"}' % i for i in range(N)])
    process = image.start(
        ["worker", "--config", "/etc/millstream/worker.toml"],
        environment={"MILLSTREAM_WORKER_INSTANCE": "worker-0"},
        mounts=mounts,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert len(read_topic(kafka.address, topics[1], least=N)) == N
        for path in ("healthz", "readyz", "metrics"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=PATIENCE) as answer:
                assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert (
        "cannot write compiled code" not in said
    )  # what a process says that compiles where it may not write
    assert json.loads(said.splitlines()[-1])["message"].startswith(("stopped", "revoked"))
