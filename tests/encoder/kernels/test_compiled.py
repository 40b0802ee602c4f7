"""The cache of compiled code, in fresh processes that use a copy of the package."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import encoder
from encoder.kernels import compiled

PACKAGE = Path(encoder.__file__).parent
PROGRAM = """
import logging
logging.basicConfig(format="%(message)s")
import numpy as np
from encoder.kernels import compiled
from encoder.kernels.utf8 import clip, decode
text = np.frombuffer("é☃".encode(), np.uint8)
assert decode(text, 0, 5) == (0xE9, 2) and clip(text, 0, 5, 1) == 2
print(compiled.compilations(), *compiled.folders_used())
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package, without any code; its `kernels/__pycache__` is where code belongs."""
    shutil.copytree(PACKAGE, tmp_path / "lib/encoder", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "lib/encoder"


def _run(package, *, writing=True, **environment):
    """How many functions a fresh process compiled, the folders of its code, and what it said."""
    without = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "MILLSTREAM_", "PYTHON"))}
    own = {"PYTHONPATH": str(package.parent), "MILLSTREAM_CACHE": str(package.parent / "cache")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM],
        cwd=package.parent,
        env=without | own | environment,
        capture_output=True,
        text=True,
        check=True,
        # No file can be written to, as in a read-only container; root as well is refused.
        preexec_fn=None if writing else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    compiled_, *folders = done.stdout.split()
    return int(compiled_), folders, done.stderr


@pytest.mark.slow
def test_code_is_kept_beside_the_kernels(package):
    beside = [str(package / "kernels/__pycache__")]
    first, again = _run(package), _run(package)
    assert first[0] > 0
    assert (first[1], again) == (beside, (0, beside, ""))


@pytest.mark.slow
def test_code_is_loaded_where_nothing_can_be_written(package):
    _run(package)
    assert _run(package, writing=False) == (0, [str(package / "kernels/__pycache__")], "")


@pytest.mark.slow
def test_code_that_cannot_be_kept_is_compiled_and_the_log_says_so_once(package):
    (package / "kernels/__pycache__").touch()
    nowhere = {"MILLSTREAM_CACHE": "/dev/null/cache", "NUMBA_CACHE_DIR": "/dev/null/code"}
    for _ in range(2):
        number, folders, said = _run(package, **nowhere)
        assert number > 1
        assert folders == []
        assert said.count("cannot write compiled code") == said.count("\n") == 1
        assert "millstream warm" in said
        assert "NUMBA_CACHE_DIR" in said


def test_a_full_or_read_only_disk_is_no_error(package):
    number, folders, said = _run(package, writing=False)
    assert (number > 1, folders, said.count("\n")) == (True, [], 1)


@pytest.mark.slow
def test_code_goes_to_the_users_cache_if_the_package_is_not_writeable(package):
    (package / "kernels/__pycache__").touch()
    folder = [str(package.parent / "cache/kernels")]
    assert _run(package)[1:] == (folder, "")
    assert _run(package) == (0, folder, "")


@pytest.mark.slow
def test_numba_cache_dir_is_used_alone(package, tmp_path):
    _run(package)
    number, folders, _ = _run(package, NUMBA_CACHE_DIR=str(tmp_path / "code"))
    assert number > 0  # what lies elsewhere is not what is asked for
    assert folders == [str(tmp_path / "code/millstream")]


@pytest.mark.slow
def test_a_change_of_any_kernel_is_a_change_of_all(package):
    _run(package)
    with (package / "kernels/wordpiece/trie.py").open("a") as file:
        file.write("# changed\n")
    assert _run(package)[0] > 0
    assert _run(package)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("keep", [0, 100])
def test_truncated_code_is_compiled_again(package, suffix, keep):
    _run(package)
    for path in package.glob(f"kernels/__pycache__/*.{suffix}"):
        path.write_bytes(path.read_bytes()[:keep])
    number, folders, said = _run(package)
    assert number > 0
    assert said == "" or (suffix == "nbi" and not folders)
    assert _run(package)[0] == 0


def test_kernels_use_this_cache():
    for path in (PACKAGE / "kernels").rglob("*.py"):
        imports = [line for line in path.read_text().splitlines() if line.startswith("from numba import")]
        assert not any("jit" in line for line in imports), path.name


def test_the_processor_is_named():
    assert compiled.processor()
