"""`millstream models serve`: a page on this machine that embeds texts in the browser."""

import json
import mimetypes
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer

from encoder.browser_files import browser_folder
from encoder.errors import ConfigurationError
from encoder.model import load_model
from pipelines.cli.models.folder import named_folder
from pipelines.cli.options import RefArgument, operations_option

__all__ = ["page_server", "serve"]

_PAGE_FILES = ("index.html", "page.css", "page.js", "vectors.js", "records.js", "millstream.js")
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src data:; "
    "connect-src 'self'"
)
_KINDS = ("classifier", "prototypes", "novelty")  # heads that the page can score
_HOSTS = ("127.0.0.1", "localhost")
_SECONDS = 30.0  # a connection may be silent


def serve(
    ref: RefArgument,
    port: Annotated[
        int,
        operations_option(
            "--port", min=0, max=65535, metavar="PORT", help="Port on this machine; 0 takes a free one."
        ),
    ] = 8000,
) -> None:
    """Serve a page that puts your texts on a map, groups them, and searches them by meaning.

    The model runs in the browser, and your files stay there. Only this machine can open the page.
    """
    folder, name = named_folder(ref)
    with page_server(folder, name, port) as server:
        typer.echo(f"{name}: http://127.0.0.1:{server.server_port}/ (stop with Ctrl-C)")
        server.serve_forever()


def page_server(folder: Path, name: str, port: int) -> ThreadingHTTPServer:
    """A server of the page and of a model, on this machine's own address.

    Args:
        folder: the model folder.
        name: what the page calls the model.
        port: the port, or 0 for a free one.

    Raises:
        ConfigurationError: the port is taken.
    """
    page = browser_folder()
    heads = [head.name for head in load_model(folder).heads if head.kind in _KINDS]
    about = json.dumps({"name": name, "heads": heads}).encode()

    def file_of(path: str) -> Path | None:
        if path.startswith("model/"):
            found = (folder / path.removeprefix("model/")).resolve()
            return found if found.is_relative_to(folder.resolve()) and found.is_file() else None
        return page / path if path in _PAGE_FILES else None

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), _handler(file_of, about))
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on port {port}: {error.strerror}; use another `port`"
        ) from error


def _handler(file_of: Callable[[str], Path | None], about: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Sends the files that `file_of` knows, and nothing else."""

        timeout = _SECONDS

        def do_GET(self) -> None:
            """Send a file, or what the page asks of the model."""
            path = unquote(urlsplit(self.path).path).lstrip("/") or "index.html"
            host = self.headers.get("Host", "").partition(":")[0]
            if host not in _HOSTS:  # a name that another site made point to this machine
                self.send_error(403)
            elif path == "model.json":
                self._send(about, "application/json")
            elif (file := file_of(path)) is not None:
                self._send(
                    file.read_bytes(), mimetypes.guess_type(file.name)[0] or "application/octet-stream"
                )
            else:
                self.send_error(404)

        def _send(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", _POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-cache")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: the browser shows what fails."""

    return Handler
