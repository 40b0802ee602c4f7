"""S3 gone wrong: a proxy that hides replies, servers that refuse, and one that ignores If-None-Match."""

import http.client
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from local_http import LocalServer

__all__ = ["careless_server", "http_server", "lossy_proxy"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Stay silent."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def _serving(handler: type[_Handler]) -> Iterator[int]:
    server = LocalServer(handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def lossy_proxy(port: int, hide: Callable[[str, str, int], str]) -> Iterator[int]:
    """Forward to the S3 server at `port`; yields the proxy's port.

    `hide(method, path, status)` says what becomes of a reply: `""` it is passed on, `"drop"` the connection
    is closed instead, `"503"` the client is told that the server is overloaded.
    """

    class Proxy(_Handler):
        def forward(self) -> None:
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            upstream.request(self.command, self.path, self.body(), headers)
            reply = upstream.getresponse()
            data, status = reply.read(), reply.status
            upstream.close()
            verdict = hide(self.command, urllib.parse.unquote(self.path), status)
            if verdict == "drop":
                self.close_connection = True
            elif verdict == "503":
                self.answer(503)
            else:
                dropped = ("connection", "transfer-encoding", "date", "server")
                kept = {name: value for name, value in reply.getheaders() if name.lower() not in dropped}
                self.answer(status, data, kept)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = forward

    with _serving(Proxy) as proxy:
        yield proxy


@contextmanager
def http_server(status: int) -> Iterator[int]:
    """A server that answers everything with one status; yields its port."""

    class Fixed(_Handler):
        def refuse(self) -> None:
            self.body()
            self.answer(status)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = refuse

    with _serving(Fixed) as port:
        yield port


@contextmanager
def careless_server() -> Iterator[tuple[int, dict[str, bytes]]]:
    """A small S3 server that ignores every condition; yields its port and its objects."""
    objects: dict[str, bytes] = {}

    class Careless(_Handler):
        @property
        def key(self) -> str:
            return urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).split("/", 2)[-1]

        def do_PUT(self) -> None:
            objects[self.key] = self.body()
            self.answer(200, headers={"ETag": '"x"', "Content-Length": "0"})

        def do_GET(self) -> None:
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            if "list-type" in query:
                self.answer(200, _listing(objects, query.get("prefix", [""])[0]))
            elif self.key in objects:
                when = {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "ETag": '"x"'}
                self.answer(200, objects[self.key], {**when, "Content-Length": str(len(objects[self.key]))})
            else:
                self.answer(404)

        do_HEAD = do_GET

        def do_POST(self) -> None:
            for key in re.findall(r"<Key>([^<]*)</Key>", self.body().decode()):
                objects.pop(key, None)
            self.answer(200, b"<DeleteResult></DeleteResult>")

        def do_DELETE(self) -> None:
            objects.pop(self.key, None)
            self.answer(204)

    with _serving(Careless) as port:
        yield port, objects


def _listing(objects: dict[str, bytes], prefix: str) -> bytes:
    entries = "".join(
        f"<Contents><Key>{key}</Key><Size>{len(data)}</Size>"
        '<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"x"</ETag></Contents>'
        for key, data in sorted(objects.items())
        if key.startswith(prefix)
    )
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()
