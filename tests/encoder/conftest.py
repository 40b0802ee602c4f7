"""Real texts."""

import json
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "../shared/data"


def _data(name):
    if not (path := DATA / name).exists():
        pytest.skip(f"needs the test data at {path.resolve()}, which is not part of the repository")
    return path


@pytest.fixture(scope="session")
def loghub_lines():
    """16,000 real log lines of 8 systems."""
    files = sorted(_data("loghub").glob("*/*_2k.log"))
    return [line for file in files for line in file.read_text("utf-8", errors="replace").splitlines()]


@pytest.fixture(scope="session")
def naughty_strings():
    """The big list of naughty strings."""
    return json.loads(_data("strings/blns.json").read_text("utf-8"))
