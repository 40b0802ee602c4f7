"""What the pages on deployment say: paths that are there, an event that the compose file's worker takes."""

import json
import re
from pathlib import Path

import yaml

from pipelines.records.template import TextTemplate

ROOT = Path(__file__).parents[2]
README = (ROOT / "deploy/README.md").read_text()
PAGES = README + (ROOT / "docs/how-to/kubernetes.md").read_text()
COMMANDS = "\n".join(re.findall(r"^```(?:sh|shell)\n(.*?)^```", PAGES, re.MULTILINE | re.DOTALL))
COPY = "deploy/kubernetes/my-cluster"  # what the reader makes


def test_paths_in_its_commands_are_there():
    paths = {path.rstrip(".") for path in re.findall(r"\bdeploy/[\w./-]+", COMMANDS)}
    assert COPY in paths
    assert all((ROOT / path).exists() for path in paths - {COPY})
    folders = re.findall(r"^\| (.*?) \| .* \|$", README, re.MULTILINE)
    named = [name for cell in folders for name in re.findall(r"`([\w./-]+)`", cell)]
    assert len(named) > 5
    assert all((ROOT / "deploy" / name).exists() for name in named)


def test_it_is_about_every_folder():
    for path in (ROOT / "deploy").iterdir():
        assert f"`{path.name}" in README or path.name == "README.md", path.name


def test_the_worker_of_the_compose_file_takes_its_event():
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    options = dict(word[2:].split("=", 1) for word in services["worker"]["command"][1:])
    [event] = re.findall(r"echo '(.*)'", COMMANDS)
    assert set(TextTemplate.parse(options["text"]).columns) <= set(json.loads(event))
    topics = set(re.findall(r"--topic ([\w-]+)", COMMANDS))
    assert topics == {options["input"], options["output"].removeprefix("topic:")}
