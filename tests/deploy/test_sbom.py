"""The bill of materials, made of this environment by the command of `make sbom`."""

import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sbom")
    recipe = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    [command] = re.findall(r"^\t(\$\(BIN\)/cyclonedx-py .*)$", recipe, re.MULTILINE)
    words = command.replace("$(BIN)", str(Path(sys.executable).parent)).replace("build/", f"{folder}/")
    subprocess.run(shlex.split(words), cwd=ROOT, check=True, capture_output=True)
    return (folder / "sbom.cdx.json").read_text()


def test_it_follows_the_schema(text):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    wrong = text.replace('"bomFormat"', '"form"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(wrong) is not None


def test_it_lists_what_is_installed(text):
    bill = json.loads(text)
    assert bill["metadata"]["component"]["name"] == "millstream"
    listed = {(canonicalize_name(one["name"]), one["version"]) for one in bill["components"]}
    installed = {(canonicalize_name(one.name), one.version) for one in distributions() if one.name}
    assert ("numba", dict(installed)["numba"]) in listed
    assert {name for name, _ in installed} - {"millstream"} <= {name for name, _ in listed}
    assert all(
        one["purl"].startswith("pkg:pypi/") for one in bill["components"] if one["name"] != "millstream"
    )


def test_what_a_package_needs_is_said(text):
    needs = {one["ref"]: one.get("dependsOn", []) for one in json.loads(text)["dependencies"]}
    [numba] = [found for ref, found in needs.items() if ref.startswith("numba==")]
    assert any(ref.startswith("llvmlite==") for ref in numba)
