import logging
import sys

import pytest

from encoder.errors import ConfigurationError
from pipelines.worker.telemetry import terminal
from pipelines.worker.telemetry.terminal import logged_beside, need_terminal


class Terminal:
    """Standard output as a terminal, in the eyes of rich."""

    def __init__(self, stream):
        self._stream = stream

    def isatty(self):
        return True

    def __getattr__(self, name):
        return getattr(self._stream, name)


def test_lines_are_kept_and_warnings_are_said_at_the_end(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", Terminal(sys.stderr))
    root = logging.getLogger()
    before = root.handlers[:]
    with logged_beside() as log:
        assert root.handlers == [log]
        logging.getLogger("pipelines.test").warning("the broker\nis away")
        logging.getLogger("pipelines.test").error("lost")
        assert capsys.readouterr().err == ""
    assert root.handlers == before
    assert [line.split(" ", 1)[1] for line in log.lines] == ["warning the broker is away", "error lost"]
    assert capsys.readouterr().err.splitlines() == list(log.warnings)


def test_with_standard_error_elsewhere_lines_go_there_too():
    root = logging.getLogger()
    before = root.handlers[:]
    with logged_beside() as log:
        assert root.handlers == [*before, log]
    assert root.handlers == before


@pytest.mark.parametrize(
    ("width", "height", "says"),
    [("59", "24", "this one has 59 by 24: enlarge it"), ("80", "19", "80 by 19"), ("80", "24", None)],
)
def test_a_terminal_must_be_large_enough(width, height, says, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal(sys.stdout))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("LINES", height)
    if says is None:
        assert need_terminal("--ui").width == 80
    else:
        with pytest.raises(ConfigurationError, match=says):
            need_terminal("--ui")


def test_a_dumb_terminal_cannot_be_drawn_on(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal(sys.stdout))
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(ConfigurationError, match="leave --ui out"):
        need_terminal("--ui")


def test_a_process_that_is_ended_gives_its_terminal_back(monkeypatch, capsys):
    codes = []
    monkeypatch.setattr(terminal.os, "_exit", codes.append)
    terminal.restore_and_exit(1)
    assert codes == [1]
    assert "\x1b[?1049l" in capsys.readouterr().out
