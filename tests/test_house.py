"""The house: who may import whom, what the wheel holds."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def test_the_rooms_import_only_what_they_may():
    done = subprocess.run(
        [BIN / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_every_ignored_rule_has_its_reason_beside_it():
    text = (ROOT / "pyproject.toml").read_text()
    ignored = tomllib.loads(text)["tool"]["ruff"]["lint"]["ignore"]
    assert ignored
    for rule in ignored:
        assert any(f'"{rule}",' in line and "#" in line for line in text.splitlines()), rule


def test_the_worker_needs_no_torch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [
        need for need in project["dependencies"] if need.startswith(("torch", "transformers", "apache-beam"))
    ]


@pytest.mark.parametrize(
    "page", ["CONTRIBUTING.md", "docs/explanation/architecture.md", "docs/contributing/testing.md"]
)
def test_every_path_that_a_page_names_is_there(page):
    paths = re.findall(r"`((?:\.ci|[a-z_]+)/[\w./-]*)`", (ROOT / page).read_text("utf-8"))
    assert len(paths) > 3
    for path in paths:
        assert (ROOT / path).exists() or (ROOT / "pipelines" / path).exists(), path


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_every_module_that_a_page_names_is_there(page):
    for path in re.findall(
        r"`((?:deploy|distill|encoder|pipelines|tests)/[\w./-]*)`", page.read_text("utf-8")
    ):
        assert (ROOT / path).exists(), path


@pytest.mark.slow
def test_the_wheel_works_as_installed(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("millstream-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "installed", wheel], check=True)
    program = (
        "import encoder, distill, pipelines.cli.app, pipelines.demo.events as events; "
        "print(encoder.__file__); print(sum(1 for _ in events.make_events(10, seed=1)))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(tmp_path / "installed/encoder/__init__.py"), "10"]
