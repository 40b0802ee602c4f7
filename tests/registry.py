"""A schema registry over HTTP that speaks Confluent's REST API, as far as the worker asks it.

No real registry runs here, so this is what stands in its place: `with schema_registry() as registry: …`. It
compiles Protobuf with protoc as the real one does, and it knows one rule of compatibility, the default one:
a new Avro schema has to read what was written with the latest.
"""

import base64
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from local_http import LocalServer

from pipelines.formats.protobuf.schema import schema_file
from pipelines.formats.schema_registry import Schema

__all__ = ["SchemaRegistry", "schema_registry"]


class SchemaRegistry:
    """Schemas, and how the server behaves.

    Attributes:
        url: of the server.
        asked: the requests so far, as `GET /schemas/ids/1`.
        status: what is answered whatever was asked, or None to behave.
        delay: seconds before an answer.
        user: `name:password` that is wanted, or None.
        read_only: whether schemas may be registered.
        serialized: whether it knows how to serialize Protobuf, as Confluent's does and others may not.
        page: answered to what does not exist, as a proxy would; or None for the registry's own answer.
    """

    def __init__(self):
        self.url = ""
        self.asked = []
        self.status = self.user = self.page = None
        self.delay = 0.0
        self.read_only = False
        self.serialized = True
        self._by_id = {}
        self._subjects = {}

    def add(self, subject, schema, kind="AVRO", references=()):
        """Register a schema; its id."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        body = {"schema": text, "schemaType": kind, "references": list(references)}
        return self._add(subject, body)

    def count(self, part):
        """How many requests had this in their path."""
        return sum(part in one for one in self.asked)

    def schema(self, schema_id):
        """The text of a schema as JSON."""
        return json.loads(self._by_id[schema_id]["schema"])

    def subjects(self):
        """The names of the subjects."""
        return sorted(self._subjects)

    def _add(self, subject, body):
        known = [number for number, one in self._by_id.items() if one == body]
        schema_id = known[0] if known else len(self._by_id) + 1
        self._by_id[schema_id] = body
        versions = self._subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return schema_id

    def answer(self, method, path, query, body):
        """The status and the JSON of an answer."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        return self._get(parts, query) if method == "GET" else self._post(parts, body)

    def _get(self, parts, query):
        match parts:
            case ["schemas", "ids", number] if int(number) in self._by_id:
                return 200, self._shown(self._by_id[int(number)], query)
            case ["schemas", "ids", _]:
                return 404, _error(40403, "Schema not found")
            case ["subjects", subject, "versions", version]:
                return self._version(subject, version, query)
            case ["mode", subject]:
                return 404, _error(40409, f"Subject '{subject}' does not have subject-level mode configured")
            case ["mode"]:
                return 200, {"mode": "READWRITE"}
        return 404, _error(404, "HTTP 404 Not Found")

    def _post(self, parts, body):
        match parts:
            case ["subjects", subject]:
                return self._lookup(subject, body)
            case ["subjects", subject, "versions"]:
                return self._register(subject, body)
            case ["compatibility", "subjects", subject, "versions", "latest"]:
                if subject in self._subjects:
                    return 200, {"is_compatible": self._fits(subject, body)}
                return 404, _error(40401, f"Subject '{subject}' not found.")
        return 404, _error(404, "HTTP 404 Not Found")

    def _lookup(self, subject, body):
        if subject not in self._subjects:
            return 404, _error(40401, f"Subject '{subject}' not found.")
        for number, schema_id in enumerate(self._subjects[subject], 1):
            if self._by_id[schema_id] == _full(body):
                return 200, {**body, "subject": subject, "version": number, "id": schema_id}
        return 404, _error(40403, "Schema not found")

    def _register(self, subject, body):
        if self.read_only:
            return 403, _error(40301, "User is denied operation Write on Subject")
        if not self._fits(subject, body):
            return 409, _error(409, f'Schema being registered for "{subject}" is incompatible')
        return 200, {"id": self._add(subject, _full(body))}

    def _version(self, subject, version, query):
        versions = self._subjects.get(subject)
        if versions is None:
            return 404, _error(40401, f"Subject '{subject}' not found.")
        number = len(versions) if version == "latest" else int(version)
        if number > len(versions):
            return 404, _error(40402, "Version not found.")
        schema_id = versions[number - 1]
        about = {"subject": subject, "version": number, "id": schema_id}
        return 200, {**about, **self._shown(self._by_id[schema_id], query)}

    def _shown(self, body, query):
        """A schema as it is given out: Protobuf in serialized form if that was asked for."""
        shown = dict(body)
        if body["schemaType"] == "PROTOBUF" and self.serialized and query.get("format") == ["serialized"]:
            file, _ = schema_file(Schema("PROTOBUF", body["schema"], (), self._parts(body)))
            file.name = "default"  # as the real one calls it
            shown["schema"] = base64.b64encode(file.SerializeToString()).decode()
        if body["schemaType"] == "AVRO":
            del shown["schemaType"]  # as the real one does
        return shown

    def _parts(self, body):
        parts = {}
        for one in body["references"]:
            referred = self._by_id[self._subjects[one["subject"]][one["version"] - 1]]
            parts |= self._parts(referred) | {one["name"]: referred["schema"]}
        return parts

    def _fits(self, subject, body):
        """Whether a reader with this schema reads what was written with the latest."""
        versions = self._subjects.get(subject)
        if not versions:
            return True
        before = {f["name"]: f["type"] for f in self.schema(versions[-1])["fields"]}
        return all(
            before[f["name"]] == f["type"] if f["name"] in before else "default" in f
            for f in json.loads(body["schema"])["fields"]
        )


def _full(body):
    return {"schemaType": "AVRO", "references": [], **body}


def _error(code, message):
    return {"error_code": code, "message": message}


@contextmanager
def schema_registry(port=0, registry=None):
    """Serve a registry on 127.0.0.1; with `port` and `registry`, one that was there before."""
    registry = registry or SchemaRegistry()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            registry.asked.append(f"{self.command} {self.path}")
            time.sleep(registry.delay)
            if registry.status is not None:
                status, answer = registry.status, _error(registry.status * 100 + 1, "out of order")
            elif registry.user and self.headers.get("Authorization") != _basic(registry.user):
                status, answer = 401, _error(401, "Unauthorized")
            else:
                sent = json.loads(body) if body else None
                status, answer = registry.answer(self.command, parts.path, parse_qs(parts.query), sent)
            data = json.dumps(answer).encode()
            if status == 404 and registry.page is not None:
                data = registry.page
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer

        def log_message(self, *_arguments):
            """Tests have their own words."""

    server = LocalServer(Handler, port)
    registry.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _basic(user):
    return "Basic " + base64.b64encode(user.encode()).decode()
