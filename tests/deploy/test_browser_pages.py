"""millstream.js in Chromium: in a page, in a web worker, without a network, and under a strict policy."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, open_page
from javascript import MODULE, TEXTS, model
from patience import wait_for
from unicode_texts import many

from encoder import Encoder
from encoder.model import save_model
from encoder.store.store import ModelStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]

GUIDE = Path(__file__).parents[2] / "docs/how-to/browser.md"
ENCODE = """(async () => {{
    const {{ Encoder }} = await import("{address}/millstream.js");
    const encoder = await Encoder.load("{source}");
    const texts = {texts};
    return {{ ids: texts.map((text) => encoder.tokenize(text ?? "")), vectors: [...encoder.encode(texts)],
        fast: Object.hasOwn(encoder.table, "add") }};
}})()"""
OFFLINE = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}


@pytest.fixture(scope="module")
def browser():
    with open_page() as page:
        yield page


@pytest.fixture
def page(browser, site, tmp_path):
    """A page that is empty, beside the module and a model."""
    address, _ = site
    shutil.copy(MODULE, tmp_path)
    save_model(model(), tmp_path / "models" / "minilm")
    (tmp_path / "empty.html").write_text('<!doctype html><link rel="icon" href="data:,">', "utf-8")
    browser.problems.clear()
    browser.go(f"{address}/empty.html")
    browser.call("Network.emulateNetworkConditions", offline=False, **OFFLINE)
    yield browser
    browser.call("Network.emulateNetworkConditions", offline=False, **OFFLINE)


def encoded(page, address, source, texts=TEXTS):
    quoted = json.dumps(texts)
    return page.evaluate(ENCODE.format(address=address, source=source, texts=quoted))


def check(found, static, texts=TEXTS):
    encoder = Encoder(static)
    ids, offsets = encoder.tokenise(texts)
    assert found["ids"] == [row.tolist() for row in np.split(ids, offsets[1:-1])]
    np.testing.assert_allclose(found["vectors"], encoder.encode(texts).ravel(), rtol=1e-5, atol=1e-6)


def test_ids_and_vectors_are_those_of_python(page, site):
    texts = [*TEXTS, *many(2000, np.random.default_rng(5), anywhere=True)]
    found = encoded(page, site[0], f"{site[0]}/models/minilm/", texts)
    check(found, model(), texts)
    assert found["fast"]
    assert page.problems == []


@pytest.mark.parametrize("kind", ["folder", "version"])
def test_a_model_that_was_loaded_once_loads_without_a_network(kind, page, site, tmp_path):
    address, parts = site
    ModelStore.open(str(tmp_path / "store/minilm")).publish(tmp_path / "models/minilm")
    source = {"folder": "models/minilm/", "version": "store/minilm/v/00000001.json"}[kind]
    check(encoded(page, address, f"{address}/{source}"), model())
    if kind == "folder":
        assert any(part.startswith("model.safetensors") for part in parts)
    page.call("Network.emulateNetworkConditions", offline=True, **OFFLINE)
    assert "Failed to fetch" in page.evaluate("fetch('empty.html').catch((error) => error.message)")
    check(encoded(page, address, f"{address}/{source}"), model())


def test_the_worker_of_the_guide_embeds_texts(page, tmp_path):
    [worker] = re.findall(r"```js\n// worker\.js[^\n]*\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "worker.js").write_text(worker, "utf-8")
    vectors = page.evaluate(
        """new Promise((resolve, reject) => {
            const worker = new Worker("worker.js", { type: "module" });
            worker.onerror = (event) => reject(new Error(event.message));
            worker.onmessage = ({ data }) => resolve([...data]);
            worker.postMessage(["card declined", "Failed password for root"]);
        })"""
    )
    expected = Encoder(model()).encode(["card declined", "Failed password for root"])
    np.testing.assert_allclose(vectors, expected.ravel(), rtol=1e-5, atol=1e-6)
    assert page.problems == []


def test_javascript_adds_up_where_a_policy_forbids_webassembly(page, site, tmp_path):
    policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"script-src 'self' 'nonce-a'\">"
    program = f"""<script type="module" nonce="a">window.found = await {ENCODE}</script>""".format(
        address=site[0], source=f"{site[0]}/models/minilm/", texts='["card declined"]'
    )
    (tmp_path / "strict.html").write_text(f"<!doctype html>{policy}{program}", "utf-8")
    page.go(f"{site[0]}/strict.html")
    found = wait_for(lambda: page.evaluate("window.found"), "the vectors")
    check(found, model(), ["card declined"])
    assert not found["fast"]
