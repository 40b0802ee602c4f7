"""Starts the systems, each in its process, some in an environment of their own."""

import contextlib
import json
import os
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

__all__ = ["OWN_ENVIRONMENTS", "Worker", "environment", "install", "versions"]

ROOT = Path(__file__).parents[3]
OWN_ENVIRONMENTS = ("tokenizers==0.23.3", "tokenizers==1.0.0rc3", "tokie==0.1.4")
"""What cannot live beside the rest (transformers wants an older `tokenizers`), or need not."""


def environment(folder, requirement):
    """The Python of a requirement's environment, or None when it has not been made."""
    python = Path(folder) / "environments" / requirement.replace("==", "-") / "bin/python"
    ready = python.parents[1] / ".ready"
    return python if ready.exists() else None


def install(folder, requirement):
    """Make the environment of a requirement; says why when that fails, and the benchmark goes on."""
    if environment(folder, requirement):
        return
    root = Path(folder) / "environments" / requirement.replace("==", "-")
    venv.create(root, with_pip=True, clear=True)
    pip = [root / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, requirement, f"numpy=={version('numpy')}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{requirement} cannot be installed:\n{done.stderr}", file=sys.stderr)
    else:
        (root / ".ready").touch()


class Worker:
    """A system in its process."""

    def __init__(self, system, model, python=None):
        self._process = subprocess.Popen(
            [python or sys.executable, "-P", Path(__file__).with_name("worker.py"), system, model],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **({} if python else {"PYTHONPATH": str(ROOT)}),
                "HF_HUB_OFFLINE": "1",
                "TOKENIZERS_PARALLELISM": "false",
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "RAYON_NUM_THREADS": "1",
            },
        )

    def __call__(self, **command):
        """Have a command done: see `worker`."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args[3:]} died; its own words are above")
        return json.loads(line)

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


def versions():
    """The versions of what is measured in this environment."""
    names = ("model2vec", "sentence-transformers", "tokenizers", "torch", "numba", "numpy", "pyarrow")
    return {"python": sys.version.split()[0], **{name: version(name) for name in names}}
