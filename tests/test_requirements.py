"""`requirements/`: hashes of exactly what `constraints.txt` pins, for what users install."""

import re
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
EXTRAS = {
    "worker": {"aws", "delta", "iceberg", "kafka-schemas", "otel", "signing"},
    "beam": {"aws", "beam", "delta", "iceberg", "kafka-schemas", "otel", "signing"},
}
_LINE = re.compile(r"(?P<name>[a-z0-9._-]+)(?:\[[a-z0-9,]+\])?==(?P<version>[^ ]+)")


def pins(path):
    """The pinned versions in a file by normalised name."""
    found = [_LINE.match(line.lower()) for line in path.read_text().splitlines() if line[:1] not in "# "]
    return {canonicalize_name(one["name"]): one["version"] for one in found if one}


def needed(name, extras, found=None):
    """The names of everything that a package with extras needs here."""
    found = set() if found is None else found
    for line in requires(name) or ():
        one = Requirement(line)
        if one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        step = (canonicalize_name(one.name), *sorted(one.extras))
        if step not in found:
            found.add(step)
            needed(one.name, one.extras, found)
    return found


@pytest.mark.parametrize("name", ["worker", "beam", "tools"])
def test_every_requirement_is_pinned_as_tested_and_has_hashes(name):
    path = ROOT / f"requirements/{name}.txt"
    tested = {canonicalize_name(key): value for key, value in pins(ROOT / "constraints.txt").items()}
    assert pins(path).items() <= tested.items(), "run `make requirements`"
    requirements = re.split(r"\n(?! )", path.read_text().strip())
    for one in requirements:
        if not one.startswith("#"):
            assert re.search(r" --hash=sha256:[0-9a-f]{64}", one), one


@pytest.mark.parametrize("name", EXTRAS)
def test_nothing_that_the_package_needs_is_missing(name):
    there = pins(ROOT / f"requirements/{name}.txt")
    missing = {step[0] for step in needed("millstream", EXTRAS[name])} - {"millstream"} - there.keys()
    assert not missing, "run `make requirements`"
    assert not {"torch", "transformers", "sentence-transformers"} & there.keys()


@pytest.mark.parametrize("name", ["worker", "beam", "tools"])
def test_no_package_host_is_named(name):
    text = (ROOT / f"requirements/{name}.txt").read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text
