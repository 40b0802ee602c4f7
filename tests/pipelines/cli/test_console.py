import io

import pytest

from pipelines.cli import console
from pipelines.cli.console import ErrorConsole, Stages


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """The time, which moves only when told."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_progress_is_a_line_now_and_then(clock, monkeypatch):
    monkeypatch.setattr(console.sys, "stderr", err := io.StringIO())
    with ErrorConsole().progress("records", 2000) as tell:
        for second in range(12):
            clock[0] = 100.0 + second
            tell(100 * second, 1000 * second)
    assert err.getvalue().splitlines() == [
        " 25 %  5,000 records, 1,000 records/s",
        " 50 %  10,000 records, 1,000 records/s",
    ]


def test_on_a_terminal_progress_is_a_bar_that_goes_away(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(console.sys, "stderr", err := Terminal())
    with ErrorConsole().progress("records", 100) as tell:
        tell(50, 1234)
    assert "50%" in err.getvalue()
    assert "1,234 records" in err.getvalue()
    assert err.getvalue().endswith("\x1b[2K")  # the line is wiped


def test_it_writes_where_standard_error_was(monkeypatch):
    monkeypatch.setattr(console.sys, "stderr", err := io.StringIO())
    own = ErrorConsole()
    monkeypatch.setattr(console.sys, "stderr", io.StringIO())
    own.print("[x] is wrong" * 20)
    assert err.getvalue() == "[x] is wrong" * 20 + "\n"


def test_stages_count_from_what_earlier_runs_had_done(clock, monkeypatch):
    monkeypatch.setattr(console.sys, "stderr", err := io.StringIO())
    with Stages(ErrorConsole()) as stages:
        for unit, done, records in (
            ("records", 0, 0),
            ("records", 50, 700),
            ("texts", 40, None),
            ("texts", 60, None),
        ):
            clock[0] += 10
            stages.tell(unit, done, 100, count=records)
        stages.print("3 were passed over")
    assert err.getvalue().splitlines() == [
        " 50 %  700 records, 70 records/s",
        " 60 %  20 texts, 2 texts/s",
        "3 were passed over",
    ]
