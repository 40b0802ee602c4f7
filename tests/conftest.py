"""Settings that all tests share, and what a failed test prints."""

import logging
import signal

import pytest
from amounts import amount
from hypothesis import settings

pytest_plugins = ["schedule", "shared", "skips"]

# A kernel's first call compiles it, and machines are shared: time says nothing about an example.
settings.register_profile("millstream", max_examples=amount(40, 1000), deadline=None)
settings.load_profile("millstream")


# Shells let what they start in the background ignore Ctrl-C, and so would the processes that tests end by it:
# unlike the order to ignore, a handler is not inherited.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Show the ends of the logs of all servers that a failed test used."""
    report = yield
    if report.failed:
        for name, used in getattr(item, "funcargs", {}).items():
            if callable(words := getattr(used, "last_words", None)):
                report.sections.append((name, words()))
    return report


@pytest.fixture(autouse=True)
def _handlers_of_logs_stay():
    """A command in this process logs to a standard error that is closed when its test ends."""
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    for handler in set(root.handlers).difference(before):
        root.removeHandler(handler)


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory):
    """Versions are kept for these tests alone: earlier ones may have had other stores at the same paths."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLSTREAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def s3_environment(s3, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3
