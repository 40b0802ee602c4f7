"""`/healthz`, `/readyz` and `/metrics` over HTTP, for Kubernetes and Prometheus."""

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from encoder.errors import ConfigurationError
from pipelines.worker.telemetry.metrics import WorkerMetrics

__all__ = ["serve"]

_log = logging.getLogger(__name__)

_DEAD_SECONDS = 60.0
_REQUEST_SECONDS = 5.0  # a connection may be silent
_MAX_CONNECTIONS = 64
_PORTS = range(1 << 16)


class _Server(ThreadingHTTPServer):
    """Answers however many clients hold connections open: the oldest one makes room for a new one."""

    daemon_threads = True
    request_queue_size = _MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: dict[Any, None] = {}  # sockets, the oldest first
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own."""
        with self._lock:
            while len(self._open) >= _MAX_CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
                with suppress(OSError):  # it has hung up
                    oldest.shutdown(socket.SHUT_RDWR)
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, _request: object, client_address: tuple[str, int]) -> None:
        """Ignore probes that hang up or fall silent; log everything else."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            _log.exception("cannot answer the request of %s", client_address[0])


def serve(listen: str, metrics: WorkerMetrics, ready: Callable[[], bool]) -> ThreadingHTTPServer:
    """Serve HTTP from a thread of its own, to everybody who reaches the address.

    `/healthz` is 200 while the worker's loop runs, `/readyz` while the worker has partitions.

    Args:
        listen: HOST:PORT; port 0 takes a free one, found in the server's `server_address`.
        metrics: of the worker.
        ready: whether the worker has partitions.

    Raises:
        ConfigurationError: the address cannot be read or used.
    """

    def answer(path: str) -> tuple[int, str, bytes]:
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(metrics.registry)
        if path == "/healthz":
            age = time.monotonic() - metrics.last_turn
            return 200 if age < _DEAD_SECONDS else 503, "text/plain", f"last turn {age:.1f} s ago\n".encode()
        if path == "/readyz":
            return (200, "text/plain", b"ready\n") if ready() else (503, "text/plain", b"no partitions\n")
        return 404, "text/plain", b"/healthz, /readyz, /metrics\n"

    class Handler(BaseHTTPRequestHandler):
        timeout = _REQUEST_SECONDS

        def do_GET(self) -> None:
            status, kind, body = answer(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Write no log line for each probe."""

    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or int(port) not in _PORTS:
        raise ConfigurationError(f"cannot read --listen {listen!r}: write HOST:PORT, as in 127.0.0.1:9108")
    try:
        server = _Server((host.strip("[]"), int(port)), Handler)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {listen}: {error.strerror or error}") from error
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
