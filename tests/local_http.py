"""The HTTP server that tests build on: it says nothing of clients that hang up."""

import sys
from http.server import ThreadingHTTPServer

__all__ = ["LocalServer"]


class LocalServer(ThreadingHTTPServer):
    """Serves on a port of 127.0.0.1.

    A client that is collected late resets its connection late, when another test may have standard error.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, handler, port=0):
        super().__init__(("127.0.0.1", port), handler)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
