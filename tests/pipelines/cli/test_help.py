"""Every command's help in a terminal of 80 columns, and the old names of flags."""

import re
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperArgument, TyperOption

from pipelines.cli.app import app
from pipelines.cli.command import Command, by_flag

ROOT = typer.main.get_command(app)
WIDTH = 80
PATIENT_LINES = 3  # of a help text in the column that 80 columns leave to it
TEXT = 50  # its width


def walk(command, path=()):
    yield " ".join(path), command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, (*path, name))


COMMANDS = dict(walk(ROOT))
LEAVES = {path: command for path, command in COMMANDS.items() if not hasattr(command, "commands")}
OLD_FLAGS = [(path, old, new) for path, leaf in LEAVES.items() for old, new in leaf.old_flags.items()]


def shown(parameter):
    return not getattr(parameter, "hidden", False)


@pytest.fixture(scope="session")
def help_of():
    """The help of a command as lines of a narrow terminal."""
    rendered = {}

    def render(path, millstream, monkeypatch):
        if path not in rendered:
            monkeypatch.setenv("COLUMNS", str(WIDTH))
            ended = millstream(*path.split(), "--help")
            assert ended.code == 0
            rendered[path] = ended.out.splitlines()
        return rendered[path]

    return render


@pytest.mark.parametrize("path", COMMANDS)
def test_help_fits_80_columns(path, help_of, millstream, monkeypatch):
    lines = help_of(path, millstream, monkeypatch)
    assert max(map(len, lines)) <= WIDTH
    assert not [line for line in lines if "…" in line or "<list[" in line]
    words = {word for line in lines for word in re.split(r"[\s│,]+", line)}
    for parameter in filter(shown, COMMANDS[path].params):
        assert [flag for flag in parameter.opts if flag.startswith("--") and flag not in words] == []


@pytest.mark.parametrize("path", LEAVES)
def test_every_option_has_a_short_help_and_a_group(path):
    assert isinstance(LEAVES[path], Command)
    for parameter in filter(shown, LEAVES[path].params):
        assert parameter.help, parameter.name
        assert len(parameter.help) <= PATIENT_LINES * TEXT, parameter.name
        assert parameter.help[-1] == ".", parameter.name
        assert isinstance(parameter, TyperArgument) or parameter.rich_help_panel, parameter.name


@pytest.mark.parametrize("path", LEAVES)
def test_required_options_stand_first(path):
    options = [one for one in LEAVES[path].params if isinstance(one, TyperOption) and shown(one)]
    for group in {option.rich_help_panel for option in options}:
        required = [option.required for option in options if option.rich_help_panel == group]
        assert required == sorted(required, reverse=True)


@pytest.mark.parametrize("path", LEAVES)
def test_what_few_look_for_stands_last(path, help_of, millstream, monkeypatch):
    shown_groups = re.findall(r"^╭─ (.+?) ─", "\n".join(help_of(path, millstream, monkeypatch)), re.MULTILINE)
    last = [group for group in ("Text files", "Signatures", "Operations") if group in shown_groups]
    assert shown_groups[-len(last) :] == last


@pytest.mark.parametrize("command", ["backfill", "stream"])
def test_a_beam_option_in_the_wrong_place_is_told_its_place(command, millstream):
    ended = millstream(command, "--runner=FlinkRunner")
    assert ended.code == 2
    assert "No such option: --runner: write Beam's options after --" in ended.err


@pytest.mark.parametrize("path", LEAVES)
def test_help_says_how_the_environment_sets_options(path, help_of, millstream, monkeypatch):
    text = " ".join(help_of(path, millstream, monkeypatch))
    has_options = any(isinstance(one, TyperOption) for one in LEAVES[path].params)
    assert ("Environment variables set options too: " in text) == has_options
    assert "['" not in text  # an old name beside the new one stays out
    has_store = any("--store" in one.opts for one in LEAVES[path].params)
    assert text.count("MILLSTREAM_STORE is --store") == has_store


def test_a_variable_of_every_process_has_no_double_that_one_command_alone_reads():
    page = (Path(__file__).parents[3] / "docs/reference/configuration.md").read_text("utf-8")
    table = page.partition("## Variables of every process")[2]
    everywhere = set(re.findall(r"^\| `MILLSTREAM_(\w+)`", table, re.MULTILINE))
    assert {"CACHE_SIZE", "SIGNING_KEY", "STORE", "TRUST"} <= everywhere
    for path, command in LEAVES.items():
        prefix = f"MILLSTREAM_{re.sub('[ -]', '_', path).upper()}"
        context = command.make_context(path, [], resilient_parsing=True, auto_envvar_prefix=prefix)
        own = {option.envvar for option in command.get_params(context) if isinstance(option.envvar, str)}
        doubles = own & {f"{prefix}_{name}" for name in (*everywhere, "SIGN")}
        others = {"MILLSTREAM_DISTILL_CACHE", "MILLSTREAM_MODELS_VERIFY_CACHE"}  # name no cache of versions
        assert doubles <= others, path


@pytest.mark.parametrize(("path", "old", "new"), OLD_FLAGS)
def test_an_old_flag_still_works_and_is_not_in_the_help(path, old, new, help_of, millstream, monkeypatch):
    command = LEAVES[path]
    option = by_flag(command)[old]
    assert option is by_flag(command)[new]
    assert not re.search(rf"{old}\b", "\n".join(help_of(path, millstream, monkeypatch)))
    needed = [word for one in command.params for word in needs(one) if one is not option]
    value = {"--input-format": "jsonl", "--output-format": "msgpack"}.get(new, "5m")
    found = []
    monkeypatch.setattr(command, "callback", lambda **values: found.append(values[option.name]))
    for words in ([old, value], [f"{old}={value}"], [new, value]):
        command.main([*needed, *words], standalone_mode=False)
    assert found == [value] * 3


def needs(parameter):
    """What a command line needs for a parameter."""
    if not parameter.required:
        return []
    return ["x"] if isinstance(parameter, TyperArgument) else [parameter.opts[0], "x"]


def test_what_stands_behind_two_dashes_keeps_its_name(monkeypatch):
    command = LEAVES["backfill"]
    found = []
    monkeypatch.setattr(command, "callback", lambda **values: found.append(values["beam_arguments"]))
    needed = [word for one in command.params for word in needs(one)]
    command.main([*needed, "--", "--format=x"], standalone_mode=False)
    assert [list(one) for one in found] == [["--format=x"]]


def test_a_variable_is_named_by_its_flag(monkeypatch):
    command = LEAVES["backfill"]
    found = []
    monkeypatch.setattr(command, "callback", lambda **values: found.append(values))
    for name, value in {
        "MODEL": "m",
        "INPUT": "i",
        "OUTPUT": "o",
        "INPUT_FORMAT": "csv",
        "JSON": "1",
    }.items():
        monkeypatch.setenv(f"MILLSTREAM_BACKFILL_{name}", value)
    ROOT.main(["backfill"], standalone_mode=False)
    [values] = found
    named = [values[name] for name in ("model", "inputs", "output", "input_format", "as_json")]
    assert named == ["m", "i", "o", "csv", True]
