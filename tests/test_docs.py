"""The examples of the documentation's pages are run word for word, in their order, in one empty folder."""

import os
import re
import shutil
import tomllib

import pytest
import typer.main
from downloads import daft as daft_packages
from pages import ROOT, examples, expects, run_examples
from shared import DISTIL
from topics import read_topic, write_topic

from pipelines.cli.app import app

PAGES = {
    str(path.relative_to(ROOT)): found
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if (found := examples(path.read_text("utf-8")))
}
TOPICS = {  # what the topics hold that a page takes as given; all pages share a broker, so names are unique
    "docs/how-to/arrow.md": {"card-payments": []},
    "docs/how-to/stream.md": {
        "events": [b'{"id": 1, "reason": "card stolen", "at": "2026-01-31T12:07:05Z"}'],
        "vectors": [],
        "letters": [],
    },
}


@pytest.mark.server
@pytest.mark.parametrize("page", PAGES)
def test_the_examples_run(page, tmp_path, request):
    found, variables = PAGES[page], {}
    if found[0].code == DISTIL:  # it was run once for all pages
        shutil.copytree(request.getfixturevalue("minilm").store, tmp_path / "store")
        found = found[1:]
    if any("$BROKERS" in example.code for example in found):
        kafka = request.getfixturevalue("kafka")
        variables["BROKERS"] = kafka.address
        for topic, messages in TOPICS.get(page, {}).items():
            write_topic(kafka.address, kafka.create_topic(topic), messages)
    code = "".join(example.code for example in found)
    if "SPARK_MASTER" in code:
        variables |= request.getfixturevalue("spark").environment()
    if "import daft\n" in code:
        variables["PYTHONPATH"] = f"{ROOT}{os.pathsep}{daft_packages()}"
    printed = run_examples(found, tmp_path, **variables)
    for example, text in zip(found, printed, strict=True):
        if example.output is not None:
            loosely = page.startswith("docs/tutorials/")  # what they print is measured or fitted
            assert expects(example.output, text, loosely=loosely), f"line {example.line} prints\n{text}"
    if page == "docs/how-to/stream.md":
        [vector] = read_topic(kafka.address, "vectors")
        assert dict(vector.headers()) == {"millstream_id": b"events/0:0"}


def test_an_ellipsis_in_the_output_stands_for_anything():
    assert expects("a … b\n", "a 1 2 b  \n")
    assert expects("…\nlast\n", "first\nsecond\nlast\n")
    assert not expects("a\n", "a\nb\n")
    assert not expects("a …\n", "a\nb\n")


def test_numbers_stand_for_numbers_where_output_is_compared_loosely():
    assert expects("records  50,001\n0.65 at … in x\n", "records 7\n0.7   at a kiosk in x\n", loosely=True)
    assert expects("records 7\n", "  records 7\n", loosely=True)
    assert not expects("records 7\n", "records many\n", loosely=True)
    assert not expects("in 5.6 s\n", "in 5.6 s, twice\n", loosely=True)
    assert not expects("records 7\n", "records 8\n")


def test_blocks_in_lists_and_tabs_are_examples():
    found = examples(
        "1. Look:\n\n    ```sh\n    ls\n    ```\n\n    ```output\n    a\n    ```\n```text\nno\n```\n"
    )
    assert [(one.language, one.code, one.line, one.output) for one in found] == [("sh", "ls\n", 3, "a\n")]


def test_the_glossary_is_sorted_and_every_term_links_to_its_page():
    text = (ROOT / "docs/glossary.md").read_text("utf-8")
    entries = re.findall(r"^\*\*([^*\n]+)\*\*\n:   (.*?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    terms = [term for term, _ in entries]
    assert len(terms) == text.count("\n:   ") > 30
    assert terms == sorted(set(terms), key=str.casefold)
    assert all(re.search(r"\]\([\w/-]+\.md", meaning) for _, meaning in entries)


def commands_shown(text):
    """What stands behind `millstream` in the blocks and the sentences of a page, whether it is run or not."""
    for block in re.findall(r"^ *```\w+[^\n]*\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        for command in re.findall(r"\bmillstream ([a-z][^\n|]*)", block.replace("\\\n", " ")):
            yield re.split(r"\s--\s|\s#\s", command)[0].split()
    for command in re.findall(r"`millstream ([a-z][^`|]*)`", text):
        yield re.split(r"\s--\s", command)[0].split()


@pytest.mark.parametrize(
    "path",
    [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "deploy/README.md"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_flags_of_commands_that_pages_show_exist(path):
    for words in commands_shown(path.read_text("utf-8")):
        command = typer.main.get_command(app)
        for word in words:
            command = getattr(command, "commands", {}).get(word, command)
        flags = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}
        shown = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
        assert shown <= flags | {"--help"}, (command.name, shown - flags)


def test_the_settings_of_the_worker_that_the_reference_shows_exist():
    page = (ROOT / "docs/reference/configuration.md").read_text("utf-8")
    [shown] = re.findall(r"^```toml[^\n]*\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    worker = typer.main.get_command(app).commands["worker"]
    assert set(tomllib.loads(shown)) <= {
        flag.removeprefix("--") for one in worker.params for flag in one.opts
    }
