import subprocess
import sys

import pytest
import typer

from encoder.errors import ConfigurationError, InputError, StoreUnavailable, TemplateError
from pipelines.cli import app as cli

COMMANDS = {
    "": ["distill", "models", "backfill", "demo", "--debug"],
    "distill": ["--output", "--store", "--name"],
    "models": ["list", "publish", "show", "pull", "verify", "rollback", "prune"],
    "models publish": ["--store", "--name", "--parameter"],
    "backfill": [
        *(
            "--model",
            "--input",
            "--output",
            "--text",
            "--keep",
            "--vectors",
            "--dtype",
            "--input-format",
            "--workers",
        ),
        *("--rows-per-file", "--json", "BEAM OPTIONS"),
    ],
    "demo": ["--records", "--folder", "--seed"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_what_a_command_takes(command, millstream, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for flag in ("--help", "-h"):
        ended = millstream(*command.split(), flag)
        assert ended.code == 0
        assert [word for word in COMMANDS[command] if word not in ended.out] == []


def test_help_says_defaults_that_are_words(millstream, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    ended = millstream("backfill", "--help")
    for default in ("all", "by file extension", "one per core"):
        assert f"[default: ({default})]" in ended.out


@pytest.mark.slow
def test_help_loads_nothing_heavy():
    program = (
        "import sys\n"
        "from pipelines.cli.app import main\n"
        "sys.argv = ['millstream', 'backfill', '--help']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'apache_beam', 'transformers', 'sklearn', 'confluent_kafka'}\n"
        "    print('heavy:', sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "--rows-per-file" in ended.stdout
    assert ended.stderr == "heavy: []\n"


@pytest.mark.parametrize(
    "arguments", [["nope"], ["backfill"], ["backfill", "--nope"], ["demo", "--records", "7"]]
)
def test_wrong_arguments_exit_with_2(arguments, millstream):
    ended = millstream(*arguments)
    assert ended.code == 2
    assert "Error" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("a [b] is wrong"), 1, "error: a [b] is wrong\n"),
        (TemplateError("no {field}"), 2, "error: no {field}\n"),
        (ConfigurationError("x" * 300), 2, f"error: {'x' * 300}\n"),
        (StoreUnavailable("away"), 1, "error: away\n"),
        (OSError(28, "No space left on device"), 1, "error: [Errno 28] No space left on device\n"),
        (KeyError("k"), 1, "error: KeyError: 'k' (--debug shows where)\n"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(error, code, line, millstream, monkeypatch):
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail():
        raise error

    monkeypatch.setattr(cli, "app", app)
    ended = millstream()
    assert (ended.code, ended.err, ended.out) == (code, line, "")
    with pytest.raises(type(error)):
        millstream("--debug")


@pytest.mark.slow
def test_a_warning_of_ours_is_one_line_like_an_error(tmp_path):
    """In a process of its own, since pytest has taken the log."""
    (tmp_path / "store/m/v").mkdir(parents=True)
    (tmp_path / "store/m/v/00000001.json").write_text("{}")
    command = [sys.executable, "-m", "pipelines", "models", "verify", str(tmp_path / "store/m")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    warning, error = done.stderr.splitlines()
    assert (done.returncode, warning.startswith("warning: skipped, since it is not a version: ")) == (1, True)
    assert error.startswith("error: ")
