"""The reference says what the code does: pages that are made from it, and lists that are written by hand."""

import importlib.util
import re

import pytest
import typer.main
from faults.messages import FakeMessage
from pages import ROOT

from encoder import errors
from encoder.store.manifest import Manifest
from pipelines.cli.app import app
from pipelines.kafka.config import _RESERVED
from pipelines.records.bad_rows import DeadLetter
from pipelines.sinks.dead_letter_messages import DEAD_LETTER_SCHEMA, dead_letter_message
from pipelines.sinks.kafka import TopicSink
from pipelines.sinks.output_claim import MARKERS


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs/hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name):
    return (ROOT / f"docs/reference/{name}.md").read_text("utf-8")


def leaves(command):
    inner = getattr(command, "commands", {})
    return [leaf for one in inner.values() for leaf in leaves(one)] if inner else [command]


def test_the_page_of_the_command_line_has_every_option(hooks):
    text = "\n".join(hooks.commands())
    for command in leaves(typer.main.get_command(app)):
        assert re.search(rf"^#+ millstream (\w+ )*{command.name}$", text, re.MULTILINE)
        shown = [one for one in command.params if not one.hidden and one.param_type_name == "option"]
        assert all(flag in text for one in shown for flag in one.opts)
    assert "--disorder" not in text, "hidden aliases are not shown"


def test_every_generated_part_is_asked_for_by_a_page_and_known(hooks):
    asked = {
        name
        for path in (ROOT / "docs").rglob("*.md")
        for name in hooks.GENERATED.findall(path.read_text("utf-8"))
    }
    assert asked == set(hooks.PARTS)


def test_metrics_have_their_type_labels_and_meaning(hooks):
    rows = list(hooks.metrics())
    assert any(row.startswith("| `millstream_records_total` | Counter: ") for row in rows)
    assert any(row.startswith("| `millstream_lag_records{topic,partition}` | Gauge: ") for row in rows)


def test_the_settings_of_the_worker_have_their_variables(hooks):
    text = "\n".join(hooks.worker_settings())
    assert re.search(
        r"\| `dead-letters \S+` \| .* \*\*Required\.\*\* <br>`MILLSTREAM_WORKER_DEAD_LETTERS`", text
    )
    assert "| `pin` |" in text


def test_the_fields_of_the_manifest_are_listed():
    table = page("formats").partition("### Manifest")[2].partition("###")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == Manifest.__struct_fields__


def test_dead_letters_have_the_headers_and_columns_that_are_listed():
    text = page("formats")
    message = FakeMessage(b"x" * 2000, b"k", topic_="events", offset_=7)
    letter = DeadLetter(0, "VALUE_CONVERTER", "no JSON")
    sent = dead_letter_message(message, letter, TopicSink(None, "dead", 1500), message.value())
    for name, _ in sent.headers:
        assert f"`{name.removeprefix('__connect.errors.')}`" in text, name
    for name in DEAD_LETTER_SCHEMA.names:
        assert f"`{name}`" in text


def test_markers_of_output_folders_are_listed():
    for writer, marker in MARKERS.items():
        assert re.search(rf"^\| `millstream {writer}` \| `{marker}`", page("formats"), re.MULTILINE)


def test_properties_that_the_worker_sets_itself_are_listed():
    for key in _RESERVED:
        assert f"`{key}`" in page("configuration")


def test_the_page_of_errors_shows_the_module_with_all_of_them():
    assert "::: encoder.errors" in page("errors")
    assert all(name in errors.__doc__ for name in errors.__all__)


@pytest.mark.parametrize("name", ["reference/strange-input", "explanation/trust"])
def test_each_row_names_a_test(name):
    rows = (ROOT / f"docs/{name}.md").read_text("utf-8").splitlines()
    cells = [row.split("|")[-2].strip() for row in rows if row.startswith("| ")]
    shown = [cell for cell in cells if cell not in ("test", "---")]
    assert len(shown) > 10
    for cell in shown:
        path, _, test = cell.strip("`").partition("::")
        assert f"def {test}(" in (ROOT / "tests" / path).read_text("utf-8"), cell
