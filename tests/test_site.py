"""The documentation's site: built strictly, every link of it followed, looked at in a browser."""

import subprocess
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from browser import CHROMIUM, open_page
from local_http import LocalServer
from pages import ROOT
from patience import PATIENCE, wait_for

pytestmark = pytest.mark.slow
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
WIDTHS = {"desk": 1280, "phone": 390}


class Html(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], {""}
        self.feed(text)

    def handle_starttag(self, _, attributes):
        found = dict(attributes)
        self.links += [found[name] for name in ("href", "src") if found.get(name)]
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site):
    server = LocalServer(partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    with open_page() as page:
        yield page


def addresses(site):
    """The path of each page, as a browser asks for it."""
    found = sorted(path.parent.relative_to(site) for path in site.rglob("index.html"))
    return [f"/{path.as_posix()}/" if path.parts else "/" for path in found]


def test_every_page_of_docs_is_in_the_site(site):
    sources = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    expected = {f"/{path.as_posix()}/".replace("/index/", "/") for path in sources}
    assert expected <= set(addresses(site))


def test_every_link_leads_somewhere(site):
    pages = {
        address: Html((site / address[1:] / "index.html").read_text("utf-8")) for address in addresses(site)
    }
    broken = []
    for here, page in pages.items():
        for link in page.links:
            target, anchor = urldefrag(urljoin(f"site:{here}", link))
            if urlsplit(target).scheme != "site":
                continue
            path = unquote(urlsplit(target).path)
            known = pages.get(path)
            there = known is not None or (site / path[1:]).is_file()
            if not there or (known is not None and unquote(anchor) not in known.anchors):
                broken.append((here, link))
    assert len(pages) > 10
    assert not broken


def test_no_page_asks_for_anything_from_elsewhere(site):
    for path in site.rglob("index.html"):
        for link in Html(path.read_text("utf-8")).links:
            is_asset = link.endswith((".css", ".js", ".svg", ".png", ".woff2"))
            assert not (is_asset and "://" in link), (path, link)


@in_browser
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_and_leads_on(site, address, browser, width):
    for path in addresses(site):
        browser.go(address + path, width=WIDTHS[width], height=844)
        seen = browser.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert seen == [WIDTHS[width]] * 2, path
        shown = "document.querySelector('{}').checkVisibility()"
        way_on = ".md-tabs" if width == "desk" else ".md-header label[for=__drawer]"
        assert browser.evaluate(shown.format(way_on)), path
        assert not browser.problems, path
    assert all(request.startswith((address, "data:")) for request in browser.requests)


@in_browser
def test_the_menu_of_a_phone_opens(address, browser):
    browser.go(address + "/reference/cli/", width=WIDTHS["phone"], height=844)
    browser.evaluate("document.querySelector('.md-header label[for=__drawer]').click()")
    left = "document.querySelector('.md-sidebar--primary').getBoundingClientRect().left"
    wait_for(lambda: browser.evaluate(left), "the menu", lambda found: found >= 0)


@in_browser
@pytest.mark.parametrize(
    ("word", "page"), [("backfill", "reference/cli"), ("rolls_back_to", "reference/formats")]
)
def test_the_search_finds_a_word(address, browser, word, page):
    browser.go(address + "/", width=WIDTHS["desk"])
    browser.evaluate(
        "(() => { const input = document.querySelector('[data-md-component=search-query]');"
        f"input.focus(); input.value = '{word}';"
        "input.dispatchEvent(new Event('keyup', {bubbles: true})) })()"
    )
    links = "[...document.querySelectorAll('.md-search-result__link')].map(link => link.href)"
    wait_for(
        lambda: browser.evaluate(links),
        f"a page with {word}",
        lambda found: any(page in one for one in found),
    )
