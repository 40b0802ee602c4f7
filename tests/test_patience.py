"""A wait that gives up says what it waited for and what it saw last; processes that end are noticed."""

import subprocess
import sys

import patience
import pytest
from patience import wait_for


def test_what_is_wanted_is_returned():
    numbers = iter(range(10))
    assert wait_for(lambda: next(numbers), "3", lambda n: n == 3, pause=0) == 3


def test_a_wait_that_gives_up_says_what_it_saw_last(monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE", 0.0)
    with pytest.raises(AssertionError, match=r"^waited 0 s for five files; seen last: \['a'\]$"):
        wait_for(lambda: ["a"], "five files", lambda files: len(files) == 5)


def run(program):
    return subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)


def test_a_process_that_ends_before_the_event_ends_the_wait():
    process = run("import sys; sys.exit('no disk')")
    with pytest.raises(AssertionError, match=r"^ended with 1 before a file; seen last: 0\nno disk"):
        wait_for(lambda: 0, "a file", process=process)


def test_a_process_may_end_once_the_event_has_happened():
    process = run("")
    process.communicate()
    assert wait_for(lambda: 1, "a file", process=process) == 1
