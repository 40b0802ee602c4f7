"""`millstream models serve`: in a real browser, a file becomes a map, groups and search hits."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from subprocess import PIPE
from urllib.request import urlopen

import numpy as np
import pytest
from browser import CHROMIUM, open_page
from patience import PATIENCE, wait_for
from tiny_tokenizers import named

from encoder.errors import ConfigurationError
from encoder.heads.scoring import Prototypes
from encoder.model import StaticModel, save_model
from pipelines.cli.models.serve import page_server

ROWS = [
    *({"id": k, "event": {"message": f"card declined at gate {k}"}} for k in range(20)),
    *({"id": k, "event": {"message": f"Failed password for root from port {k}"}} for k in range(30)),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    table = np.random.default_rng(0).standard_normal((named("uncased").get_vocab_size(), 16), np.float32)
    near = Prototypes("near", ("a", "b"), np.eye(2, 16, dtype=np.float32), 0.1)
    model = StaticModel(table, named("uncased").to_str(), {"normalize": True}, heads=(near,))
    return save_model(model, tmp_path_factory.mktemp("serve") / "tiny")


@pytest.fixture
def server(folder):
    with page_server(folder, "tiny", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request("GET", path, headers=headers)
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply, body


def test_it_sends_the_page_and_the_model(server, folder):
    reply, body = get(server, "/")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html")
    assert "script-src 'self'" in reply.headers["Content-Security-Policy"]
    assert b"page.js" in body
    assert get(server, "/model/config.json")[1] == (folder / "config.json").read_bytes()
    assert json.loads(get(server, "/model.json")[1]) == {"name": "tiny", "heads": ["near"]}


@pytest.mark.parametrize(
    "path", ["/model/../../secret", "/model/%2e%2e/secret", "//etc/passwd", "/package.json", "/model/none"]
)
def test_it_sends_nothing_else(server, folder, path):
    (folder.parent / "secret").write_text("secret")
    assert get(server, path)[0].status == 404


def test_it_answers_under_its_own_name_alone(server):
    assert get(server, "/", Host="evil.example:8000")[0].status == 403
    assert server.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_an_error(server, folder):
    with pytest.raises(ConfigurationError, match=f"cannot listen on port {server.server_port}"):
        page_server(folder, "tiny", server.server_port)


@pytest.mark.slow
def test_the_command_serves_until_it_is_interrupted(folder):
    command = [sys.executable, "-m", "pipelines", "models", "serve", str(folder), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4]), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=environment) as process:
        address = re.search(r"^tiny: (http://127\.0\.0\.1:\d+/)", process.stdout.readline())[1]
        assert b"page.js" in urlopen(address, timeout=PATIENCE).read()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in errors
    assert process.returncode == 130


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (Debian: chromium)")
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_a_file_becomes_a_map_groups_and_hits(server, tmp_path, width, dark):
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)), "utf-8")

    def text(name):
        return page.evaluate(f"document.getElementById('{name}').textContent")

    with open_page() as page:
        page.go(f"http://127.0.0.1:{server.server_port}/", width=width, dark=dark)
        wait_for(lambda: text("model"), "the model", lambda shown: "16 dimensions" in shown)
        page.call("DOM.enable")
        root = page.call("DOM.getDocument")["root"]["nodeId"]
        found = page.call("DOM.querySelector", nodeId=root, selector="#file")
        page.call("DOM.setFileInputFiles", files=[str(file)], nodeId=found["nodeId"])
        wait_for(lambda: text("progress"), "the texts", lambda shown: shown == "50 texts")
        assert page.evaluate("document.getElementById('field').value") == "event.message"
        page.evaluate(
            "const query = document.getElementById('query'); query.value = 'card declined';"
            "query.dispatchEvent(new Event('input'))"
        )
        hits = page.evaluate("[...document.querySelectorAll('#hits li')].map((hit) => hit.textContent)")
        assert len(hits) == 10
        assert all(hit.startswith("card declined at gate") for hit in hits)
        assert text("scores").startswith("near: ")
        groups = page.evaluate("document.querySelectorAll('#legend li').length")
        assert 2 <= groups <= 8
        page.evaluate(
            "document.getElementById('map').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))"
        )
        assert text("point") == ROWS[0]["event"]["message"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(tmp_path / "page.png")
        address = f"http://127.0.0.1:{server.server_port}/"
        assert [url for url in page.requests if not url.startswith((address, "data:"))] == []
        assert page.problems == []
