"""What probes and Prometheus ask; how it looks while a worker runs is tested with the worker."""

import logging
import re
import socket
import struct
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, closing

import pytest
from patience import PATIENCE, wait_for

from encoder.errors import ConfigurationError
from pipelines.worker.telemetry import http as health
from pipelines.worker.telemetry.metrics import WorkerMetrics


@pytest.fixture
def metrics():
    return WorkerMetrics()


@pytest.fixture
def server(metrics):
    server = health.serve("127.0.0.1:0", metrics, lambda: True)
    yield server
    server.shutdown()
    server.server_close()


def get(server, path):
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{server.server_port}{path}", timeout=PATIENCE
        ) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_paths(server):
    assert get(server, "/healthz")[0] == 200
    assert get(server, "/readyz?verbose") == (200, "ready\n")
    status, page = get(server, "/metrics")
    assert status == 200
    assert "millstream_" in page
    assert get(server, "/other") == (404, "/healthz, /readyz, /metrics\n")


def test_a_loop_that_stands_still_is_not_healthy(server, metrics):
    metrics.last_turn = time.monotonic() - 61
    status, text = get(server, "/healthz")
    assert status == 503
    assert float(re.fullmatch(r"last turn ([\d.]+) s ago\n", text)[1]) >= 61


def of_health(caplog):
    """The lines of the module's own logger: threads of other tests may log as well."""
    return [line for line in caplog.records if line.name == health.__name__]


def test_a_probe_that_hangs_up_is_passed_over(server, capsys, caplog):
    ended = []
    server.shutdown_request = lambda request: (ended.append(request), request.close())
    with closing(socket.create_connection(server.server_address)) as probe:
        probe.sendall(b"GET /metrics")  # and no end of the line: the server waits for more
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, do not end
    wait_for(lambda: ended, "the end of the request")
    assert get(server, "/readyz")[0] == 200
    assert capsys.readouterr().err == ""
    assert not of_health(caplog)


def test_what_goes_wrong_goes_to_the_log(metrics, capsys, caplog):
    def ready():
        raise ZeroDivisionError

    server = health.serve("127.0.0.1:0", metrics, ready)
    with pytest.raises(OSError, match=r"closed|reset"):
        get(server, "/readyz")
    wait_for(lambda: of_health(caplog), "a log line")
    server.shutdown()
    server.server_close()
    [line] = of_health(caplog)
    assert line.levelno == logging.ERROR
    assert line.message == "cannot answer the request of 127.0.0.1"
    assert line.exc_info[0] is ZeroDivisionError
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_idle_connections_never_keep_a_probe_out(server):
    with ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(server.server_address, PATIENCE)) for _ in range(300)
        ]
        assert get(server, "/healthz")[0] == 200
        for one in idle[:200]:  # made room, long before their time was over
            assert one.recv(1) == b""
        idle[-1].sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        assert b"200 OK" in idle[-1].recv(100)


def test_a_silent_connection_ends(metrics, monkeypatch):
    monkeypatch.setattr(health, "_REQUEST_SECONDS", 0.1)
    server = health.serve("127.0.0.1:0", metrics, lambda: True)
    with socket.create_connection(server.server_address, PATIENCE) as idle:
        idle.sendall(b"GET /met")
        assert idle.recv(1) == b""
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("address", ["nine", "127.0.0.1:-1", "127.0.0.1:65536", ":"])
def test_an_address_that_cannot_be_read_is_named(metrics, address):
    with pytest.raises(ConfigurationError, match=r"cannot read --listen .*: write HOST:PORT"):
        health.serve(address, metrics, lambda: True)


def test_a_port_that_is_taken_is_named(server, metrics):
    with pytest.raises(ConfigurationError, match=rf"cannot listen on 127\.0\.0\.1:{server.server_port}: "):
        health.serve(f"127.0.0.1:{server.server_port}", metrics, lambda: True)
