"""What tests share is started once, and an error of its start is raised where a test asks for it."""

import dataclasses
import itertools
import urllib.parse

import pytest
import shared
from servers import MissingProgram


@dataclasses.dataclass
class Server:
    number: int


@pytest.fixture
def ask(monkeypatch):
    """Ask for servers of these kinds, as the processes of tests do."""
    numbers = itertools.count()

    def missing(_stack):
        raise MissingProgram("java is not installed")

    def broken(_stack):
        raise OSError("no space left")

    kinds = {"counted": lambda _: Server(next(numbers)), "missing": missing, "broken": broken}
    monkeypatch.setattr(shared, "_START", kinds)
    servers = shared._Shared()
    monkeypatch.setenv(shared._ADDRESS, servers.address)
    yield shared._ask
    servers.close()


def test_a_server_is_started_once(ask):
    ask("counted", "POST")
    assert [ask("counted"), ask("counted")] == [{"number": 0}] * 2


def test_what_is_missing_skips_and_what_is_broken_fails(ask):
    with pytest.raises(pytest.skip.Exception, match="java is not installed"):
        ask("missing")
    with pytest.raises(RuntimeError, match="no space left"):
        ask("broken")


def test_the_address_is_that_of_the_whole_run():
    assert urllib.parse.urlsplit(shared.os.environ[shared._ADDRESS]).hostname == "127.0.0.1"
