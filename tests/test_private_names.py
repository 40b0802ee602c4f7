"""What is used of other packages through private names: each has an upper bound, and is still what it was.

A private name may move in any release. So `pyproject.toml` lets in no release that was not tested, and these
tests say what has moved when a bound is raised.
"""

import ast
import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path

import fastavro._read_py
import llvmlite.ir
import numba
import pytest
from numba.core import cgutils, codegen, compiler, config, dispatcher, serialize
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PACKAGES = ("distill", "encoder", "pipelines")
PRIVATE = ("numba.core",)  # private by Numba's word: the public names are those of `numba`
BOUNDED = {"fastavro", "numba"}


def requirements():
    """All requirements of `pyproject.toml` by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    return [Requirement(line) for line in lines]


def imported(path):
    """The full names of what a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_private(name):
    return any(part[0] == "_" and part[:2] != "__" for part in name.split(".")) or name.startswith(PRIVATE)


def test_packages_with_private_names_are_those_that_have_bounds():
    names = {name for folder in PACKAGES for path in (ROOT / folder).rglob("*.py") for name in imported(path)}
    assert {name.partition(".")[0] for name in names if is_private(name)} - set(PACKAGES) == BOUNDED


@pytest.mark.parametrize("name", sorted(BOUNDED))
def test_no_release_is_let_in_that_was_not_tested(name):
    """A bound follows the pinned release: raise both, after these tests have passed."""
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    tested = Version(pins[name])
    next_minor = f"{tested.major}.{tested.minor + 1}"
    found = [one.specifier for one in requirements() if one.name == name]
    assert found
    for specifier in found:
        assert tested in specifier
        assert version(name) in specifier
        assert next_minor not in specifier, f"pyproject.toml: {name}<{next_minor}"


def test_numba_has_what_the_kernels_use():
    parameters = inspect.signature(compiler.CompileResult._rebuild).parameters
    assert next(iter(parameters)) == "target_context"
    assert callable(compiler.CompileResult._reduce)
    assert callable(codegen.CPUCodegen.magic_tuple)
    assert isinstance(serialize.dumps(("signature", 1)), bytes)
    assert config.CACHE_DIR is not None
    assert hasattr(config, "CPU_NAME")
    assert {"alloca_once", "create_constant_array"} <= set(dir(cgutils))
    assert llvmlite.ir.VectorType
    source = inspect.getsource(dispatcher.Dispatcher.compile)
    assert "self._cache.load_overload(sig, self.targetctx)" in source
    assert "self._cache.save_overload(sig, cres)" in source


def test_numba_compiles_with_the_options_that_kernels_set():
    twice = numba.njit(_nrt=False, no_cpython_wrapper=False, no_cfunc_wrapper=True)(lambda x: 2 * x)
    assert twice(21) == 42
    assert hasattr(twice, "_cache")
    [result] = twice.overloads.values()
    assert result.library.has_dynamic_globals is False
    assert set(twice.stats._fields) >= {"cache_misses"}


def test_fastavro_has_the_reader_in_python_whose_depth_is_limited():
    assert callable(fastavro._read_py.schemaless_reader)
