"""The cache of compiled code, in fresh processes that use a copy of the package."""

import hashlib
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from amounts import amount

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


@pytest.mark.slow
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
@pytest.mark.parametrize("keep", [0, 20, 100, -1])
def test_truncated_code_is_compiled_again(package, keep):
    _run(package)
    for path in package.glob("kernels/__pycache__/*.nbc"):
        path.write_bytes(path.read_bytes()[:keep])
    number, folders, said = _run(package)
    assert number > 0
    assert (folders, said) == ([str(package / "kernels/__pycache__")], "")
    assert _run(package)[0] == 0


@pytest.mark.slow
def test_damaged_code_is_compiled_again(package):
    _run(package)
    for path in package.glob("kernels/__pycache__/*.nbc"):
        data = bytearray(path.read_bytes())
        data[-100] ^= 1  # machine code that would be run
        path.write_bytes(data)
    assert _run(package)[0] > 0


@pytest.mark.slow
def test_code_of_an_earlier_source_is_removed(package):
    _run(package)
    before = {path.name for path in package.glob("kernels/__pycache__/*.nbc")}
    with (package / "kernels/utf8.py").open("a") as file:
        file.write("# changed\n")
    _run(package)
    after = {path.name for path in package.glob("kernels/__pycache__/*.nbc")}
    assert len(after) == len(before)
    assert not before & after


class Harm:
    """Creates a file when its pickle is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["MILLSTREAM_CACHE", "NUMBA_CACHE_DIR"])
def test_code_that_others_can_change_is_not_read(package, tmp_path, variable):
    """The files have a digest, as others can compute it; the folders above are open, as pytest's are not."""
    (package / "kernels/__pycache__").touch()
    harm, harmed = pickle.dumps((Harm(tmp_path / "harmed"), None)), tmp_path / "harmed"
    with tempfile.TemporaryDirectory() as open_to_all:
        Path(open_to_all).chmod(0o755)
        environment = {variable: open_to_all}
        _run(package, **environment)
        [folder] = {path.parent for path in Path(open_to_all).rglob("*.nbc")}

        def plant():
            for path in folder.glob("*.nbc"):
                path.write_bytes(hashlib.sha256(harm).digest() + harm)

        plant()
        _run(package, **environment)
        assert harmed.exists()  # it can do harm where only the user writes
        harmed.unlink()
        plant()
        folder.chmod(0o777)
        number, folders, said = _run(package, **environment)
        assert not harmed.exists()
        assert (number > 0, folders) == (True, [])
        assert f"every user can write to {folder}" in said
        assert f"`rm -r {folder}`" in said
        assert f"set {variable} to a folder of your own" in said


MIXED = """
from encoder.kernels.compiled import njit

@njit(cache=True)
def second(values):
    return values[1] + values[1]
"""
SECOND = """
import sys, time
import numpy as np
from encoder.kernels import compiled
from encoder.kernels.mixed import second
values = np.array([1, 60, 3], sys.argv[1])
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
assert second(values) == 120, second(values)
print(compiled.compilations())
"""
KINDS = ("int8", "int64", "float32", "float64")


@pytest.mark.slow
def test_processes_that_compile_at_once_leave_code_that_the_next_ones_can_use(package):
    """One function, a signature for each process; one of them is killed while it compiles or writes."""
    (package / "kernels/mixed.py").write_text(MIXED)
    own = {"PYTHONPATH": str(package.parent), "NUMBA_CACHE_DIR": "", "MILLSTREAM_CACHE": "/dev/null/cache"}

    def start(kind, at=0.0):
        command = [sys.executable, "-B", "-c", SECOND, kind, str(at)]
        environment = os.environ | own
        return subprocess.Popen(
            command, env=environment, cwd=package.parent, stdout=subprocess.PIPE, text=True
        )

    def all_end(at=0.0, kill=None):
        processes = [start(kind, at) for kind in KINDS]
        if kill is not None:
            time.sleep(max(0.0, at - time.time()) + kill % 7 / 20)
            processes[kill % len(KINDS)].kill()
        outputs = [process.communicate()[0].strip() for process in processes]
        return list(zip(outputs, [process.returncode for process in processes], strict=True))

    for turn in range(amount(1, 30)):
        shutil.rmtree(package / "kernels/__pycache__", ignore_errors=True)
        all_end(at=time.time() + 4, kill=turn)  # all have imported Numba by then
        assert {code for _, code in all_end()} == {0}  # at once again, with what the killed one has left
        assert all_end() == [("0", 0)] * len(KINDS)


def test_kernels_use_this_cache():
    for path in (PACKAGE / "kernels").rglob("*.py"):
        imports = [line for line in path.read_text().splitlines() if line.startswith("from numba import")]
        assert not any("jit" in line for line in imports), path.name


def test_the_processor_is_named():
    assert compiled.processor()
