"""Skipped tests: in CI, only those that a file lists with a reason.

A test that is skipped by mistake looks like one that passes. With `--expected-skips FILE` a run fails if it
skips a test that the file does not list.
"""

import fnmatch
import tomllib
from pathlib import Path

import pytest

_found = pytest.StashKey[list[tuple[str, str]]]()


def pytest_addoption(parser):
    help_text = "fail if a test is skipped that FILE (TOML: [skips], pattern = reason) does not list"
    parser.addoption("--expected-skips", metavar="FILE", help=help_text)


def unlisted(skipped, patterns):
    """Those of the skipped tests that match no pattern.

    Args:
        skipped: `(node id, reason)` of each.
        patterns: of node ids, as `fnmatch` has them, but that `[` stands for itself.
    """
    patterns = [pattern.replace("[", "[[]") for pattern in patterns]
    return [one for one in skipped if not any(fnmatch.fnmatchcase(one[0], pattern) for pattern in patterns)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    config = session.config
    if hasattr(config, "workerinput") or (path := config.option.expected_skips) is None:
        return
    listed = tomllib.loads(Path(path).read_text("utf-8"))["skips"]
    reports = config.pluginmanager.get_plugin("terminalreporter").stats.get("skipped", [])
    config.stash[_found] = unlisted([(one.nodeid, one.longrepr[2]) for one in reports], listed)
    if config.stash[_found] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    if found := config.stash.get(_found, []):
        terminalreporter.section(f"skipped, but not listed in {config.option.expected_skips}")
        for name, reason in found:
            terminalreporter.line(f"{name}: {reason}")
