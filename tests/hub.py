"""A small server that speaks what an upload to the Hugging Face Hub needs: repositories, LFS, commits."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from local_http import LocalServer

__all__ = ["Hub", "hub"]

TOKEN = "hf_of_the_test"


class Hub:
    """What the server holds.

    Attributes:
        address: where it listens.
        repositories: by id, whether they are private.
        commits: by repository id, the files of each commit, by their paths.
        contents: by repository id, the files that are there now, by their paths.
        messages: by repository id, the commits' messages.
        cards: texts of model cards that were checked.
    """

    def __init__(self):
        self.address = ""
        self.repositories, self.commits, self.messages, self.cards, self.blobs = {}, {}, {}, [], {}
        self.contents = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self):
        return self.server.hub

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._reply(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self.hub.cards.append(json.loads(body)["content"])
            self._reply(200, {"errors": [], "warnings": []})
        elif match := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            large = [".safetensors"]
            modes = [
                {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(*large) else "regular"}
                for file in json.loads(body)["files"]
            ]
            self._reply(200, {"files": [{**mode, "shouldIgnore": False, "oid": None} for mode in modes]})
        elif self.path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{self.hub.address}/lfs/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self._reply(200, {"transfer": "basic", "objects": objects})
        elif match := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            self._commit(match[1], body)
        else:
            self._reply(404, {"error": self.path})

    def do_PUT(self):
        body = self._body()
        oid = self.path.removeprefix("/lfs/")
        if hashlib.sha256(body).hexdigest() != oid:
            self._reply(400, {"error": "other bytes"})
        else:
            self.hub.blobs[oid] = body
            self._reply(200, {})

    def do_GET(self):
        match = re.fullmatch(r"/api/models/(.+)/tree/main\?.*recursive=true.*", self.path, re.IGNORECASE)
        if match and match[1] in self.hub.repositories:
            files = self.hub.contents.get(match[1], {})
            entry = {"type": "file", "oid": "2" * 40}
            self._reply(200, [{**entry, "path": path, "size": len(data)} for path, data in files.items()])
        else:
            self._reply(404, {"error": self.path})

    def _create(self, asked):
        repo_id = f"{asked['organization']}/{asked['name']}"
        known = repo_id in self.hub.repositories
        if not known:
            self.hub.repositories[repo_id] = asked.get("private") or asked.get("visibility") == "private"
        self._reply(409 if known else 200, {"url": f"{self.hub.address}/{repo_id}"})

    def _commit(self, repo_id, body):
        lines = [json.loads(line) for line in body.splitlines()]
        files, contents = {}, self.hub.contents.setdefault(repo_id, {})
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del contents[value["path"]]
            elif line["key"] == "header":
                self.hub.messages.setdefault(repo_id, []).append(value["summary"])
        contents.update(files)
        self.hub.commits.setdefault(repo_id, []).append(files)
        oid = "1" * 40
        self._reply(200, {"commitUrl": f"{self.hub.address}/{repo_id}/commit/{oid}", "commitOid": oid})

    def _body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _reply(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def hub():
    """Run the server."""
    server = LocalServer(_Handler)
    server.hub = Hub()
    server.hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
