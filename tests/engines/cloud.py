"""What a machine of Google Cloud has around it, on this one: the metadata server, and Cloud Storage.

The metadata server hands out a token that only the storage emulator takes. `with google_cloud(python) as
environment: …` gives the variables that Google's own libraries look at.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread

from engines.processes import Server
from local_http import LocalServer
from servers import free_ports

__all__ = ["BUCKET", "google_cloud"]

BUCKET = "bucket"
_ACCOUNT = {"aliases": ["default"], "email": "worker@project.iam.gserviceaccount.com", "scopes": ["all"]}
_ANSWERS = {
    "/computeMetadata/v1/instance/service-accounts/default/": json.dumps(_ACCOUNT),
    "/computeMetadata/v1/instance/service-accounts/default/token": json.dumps(
        {"access_token": "of-a-test", "expires_in": 3600, "token_type": "Bearer"}
    ),
    "/computeMetadata/v1/project/project-id": "project",
    "/computeMetadata/v1/universe/universe-domain": "googleapis.com",
}


class _Metadata(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = _ANSWERS.get(self.path.partition("?")[0])
        answer = (found or "").encode()
        self.send_response(200 if found is not None or self.path == "/" else 404)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", "application/json" if answer.startswith(b"{") else "text/plain")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def google_cloud(python: Path) -> Iterator[dict[str, str]]:
    """Start both on free ports of 127.0.0.1, and stop them at the end.

    Args:
        python: of an environment with `gcp-storage-emulator`.

    Yields:
        The environment's variables that lead to them.
    """
    folder = Path(tempfile.mkdtemp(prefix="millstream-cloud-"))
    [port] = free_ports(1)
    start = ["start", "--host=127.0.0.1", f"--port={port}", "--in-memory", f"--default-bucket={BUCKET}"]
    storage = Server("storage", [python, "-m", "gcp_storage_emulator", *start], folder, port)
    metadata = LocalServer(_Metadata)
    Thread(target=metadata.serve_forever, daemon=True).start()
    try:
        storage.wait()
        address = f"127.0.0.1:{metadata.server_port}"
        yield {
            "GCE_METADATA_HOST": address,
            "GCE_METADATA_IP": address,
            "GCE_METADATA_ROOT": address,
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
        }
    finally:
        metadata.shutdown()
        metadata.server_close()
        storage.kill()
        shutil.rmtree(folder, ignore_errors=True)
