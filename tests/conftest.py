"""Kernels are compiled anew when any of them has changed."""

from pathlib import Path

import pytest
from hypothesis import settings
from servers import seaweedfs

# A kernel's first call compiles it, and machines are shared: time says nothing about an example.
settings.register_profile("millstream", deadline=None)
settings.load_profile("millstream")

_KERNELS = Path(__file__).parents[1] / "encoder" / "kernels"


def pytest_configure():
    # Numba's cache on disk compares a function with its own module alone; what it calls elsewhere may be old.
    newest = max(source.stat().st_mtime for source in _KERNELS.glob("*.py"))
    for index in _KERNELS.glob("__pycache__/*.nbi"):
        if index.stat().st_mtime < newest:
            index.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def s3():
    with seaweedfs() as server:
        yield server


@pytest.fixture
def s3_environment(s3, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3
