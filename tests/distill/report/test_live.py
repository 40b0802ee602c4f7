"""The model in a report, in a real browser: from the page as a file without a network, or from beside it."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from browser import CHROMIUM, open_page
from distill_report import make_report, make_word_report, small_model
from patience import wait_for
from tiny_tokenizers import named

from distill.report.head_sections import page_with_heads
from distill.report.live import has_model, model_files, page_with_model, runs_in_browser
from encoder.encoder import Encoder
from encoder.errors import ConfigurationError
from encoder.heads.scoring import Prototypes
from encoder.masks import Masks
from encoder.model import StaticModel, save_model

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
TEXT = "payment card refused"


@pytest.fixture(scope="module")
def model():
    near = Prototypes("near", ("a", "b"), np.eye(2, 12, dtype=np.float32), -1)
    plain = small_model(np.random.default_rng(0))
    return StaticModel(plain.table, plain.tokenizer_json, plain.config, heads=(near,))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """A model folder with its report."""
    page = page_with_heads(make_report(100), model.heads)
    more = {"report.html": page}
    return save_model(model, tmp_path_factory.mktemp("live") / "model", more=more)


def test_the_model_is_in_the_page_once_and_the_page_may_fetch_nothing(folder):
    page = (folder / "report.html").read_text("utf-8")
    assert not has_model(page)
    assert "connect-src 'self'" in page
    files = model_files(folder)
    assert sorted(files) == ["config.json", "heads/near.safetensors", "model.safetensors", "tokenizer.json"]
    held = page_with_model(page, files)
    assert has_model(held)
    assert "connect-src" not in held
    assert page_with_model(held, files) == held
    renewed = page_with_model(held, {"heads/near.safetensors": b"new"})
    assert renewed.count('class="model"') == 4
    assert ">bmV3</script>" in renewed


def test_a_page_without_the_section_takes_no_model(folder):
    with pytest.raises(ConfigurationError, match="cannot hold its model"):
        page_with_model("<p>older</p>", model_files(folder))


@pytest.mark.parametrize("tokenizer", ["Unigram", "byte-level BPE"])
def test_models_that_do_not_run_in_a_browser_have_no_section(tokenizer):
    rows = named(tokenizer).get_vocab_size()
    other = StaticModel(np.ones((rows, 4), np.float32), named(tokenizer).to_str())
    assert not runs_in_browser(other)


def test_models_with_masks_have_no_section(model):
    plain = StaticModel(model.table, model.tokenizer_json, model.config)
    assert runs_in_browser(plain)
    assert not runs_in_browser(plain.with_masks(Masks.parse(["ip"])))


@pytest.fixture(scope="module")
def browser():
    with open_page() as page:
        yield page


def state(page):
    return page.evaluate("document.getElementById('state').textContent")


def listed(page, name):
    return page.evaluate(f"[...document.querySelectorAll('#{name} li')].map((item) => item.textContent)")


def offline(page):
    page.call(
        "Network.emulateNetworkConditions",
        offline=True,
        latency=0,
        downloadThroughput=0,
        uploadThroughput=0,
    )


def check(page, model):
    """Type a text as a person does, and compare with Python."""
    page.evaluate("document.getElementById('try').focus()")
    wait_for(lambda: state(page), "the model", lambda shown: "loaded" in shown)
    page.call("Input.insertText", text=TEXT)
    encoder = Encoder(model)
    ids, _, vectors = encoder.encode_tokens([TEXT])
    tokens = [named("uncased").id_to_token(int(number)) for number in ids]
    lengths = np.linalg.norm(vectors, axis=1)
    shares = [f"{share:.0f} %" for share in 100 * lengths / lengths.sum()]
    assert listed(page, "tokens") == [token + share for token, share in zip(tokens, shares, strict=True)]
    texts = page.evaluate(
        "JSON.parse(document.getElementById('data').textContent).points.map((point) => point.t)"
    )
    cosines = encoder.encode(texts) @ encoder.encode([TEXT])[0]
    near = listed(page, "nearest")
    assert len(near) == 8
    best = int(np.argmax(cosines))
    assert near[0].endswith(f"{cosines[best]:.2f}")
    assert page.evaluate("document.querySelectorAll('#map circle.near').length") == 8
    name = encoder.heads(encoder.encode([TEXT]))[0]
    assert listed(page, "scores") == [f"near{'ab'[name.nearest[0]]}, {name.similarity[0]:.2f}"]
    assert state(page).startswith(f"{len(tokens)} tokens; nearest: ")
    assert "near: " in state(page)


@pytest.mark.slow
@in_browser
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_file_with_its_model_works_without_a_network(browser, folder, model, tmp_path, width, dark):
    path = tmp_path / "report.html"
    page = (folder / "report.html").read_text("utf-8")
    path.write_text(page_with_model(page, model_files(folder)), "utf-8")
    browser.problems.clear()
    browser.requests.clear()
    browser.go(path, width=width, dark=dark)
    offline(browser)
    check(browser, model)
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.requests == [path.as_uri()]
    assert browser.problems == []


@pytest.mark.slow
@in_browser
def test_a_served_page_loads_the_model_from_beside_it_when_it_is_wanted(browser, folder, model):
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        browser.problems.clear()
        browser.requests.clear()
        browser.go(f"{address}/report.html")
        asked = [url.removeprefix(address) for url in browser.requests]
        assert [url for url in asked if url != "/favicon.ico"] == ["/report.html"]
        check(browser, model)
        assert all(url.startswith(f"{address}/") for url in browser.requests)
        server.shutdown()
        thread.join()


@pytest.mark.slow
@in_browser
def test_a_file_without_its_model_takes_the_models_folder(browser, folder, model):
    browser.problems.clear()
    browser.go(folder / "report.html")
    browser.evaluate("document.getElementById('try').focus()")
    assert state(browser) == "The model is not in this page. Choose its folder:"
    assert browser.evaluate("document.getElementById('choose').hidden") is False
    browser.call("DOM.enable")
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    found = browser.call("DOM.querySelector", nodeId=root, selector="#folder")
    browser.call("DOM.setFileInputFiles", files=[str(folder)], nodeId=found["nodeId"])
    wait_for(lambda: state(browser), "the model", lambda shown: "loaded" in shown)
    assert browser.evaluate("document.getElementById('choose').hidden") is True
    check(browser, model)
    assert browser.problems == []


@pytest.mark.slow
@in_browser
def test_the_box_is_labelled_and_its_state_is_spoken(browser, tmp_path):
    path = tmp_path / "words.html"
    path.write_text(make_word_report(), "utf-8")
    browser.go(path)
    assert browser.evaluate("document.getElementById('try').labels[0].textContent") == "Text"
    assert browser.evaluate("document.getElementById('state').getAttribute('role')") == "status"
    for name in ("tokens", "nearest", "scores", "folder"):
        assert browser.evaluate(f"document.getElementById('{name}').hasAttribute('aria-label')") is True
    for _ in range(3):  # the keyboard comes to the box
        browser.call("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        browser.call("Input.dispatchKeyEvent", type="keyUp", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        if browser.evaluate("document.activeElement.id") == "try":
            return
    pytest.fail("the keyboard does not come to the box")
