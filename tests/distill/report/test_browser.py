"""The page in a real browser: nothing fails, the map is drawn, pointing and searching work."""

import os
from pathlib import Path

import pytest
from browser import CHROMIUM, open_page
from patience import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]

SHOWN = "document.querySelectorAll('#map circle:not(.off)').length"


@pytest.fixture(scope="module")
def page():
    with open_page() as page:
        yield page


@pytest.fixture
def show(page, pages, tmp_path):
    """Open one of the pages; it must ask for nothing, and have nothing to say."""

    def show(name, **window):
        path = tmp_path / f"{name}.html"
        path.write_text(pages[name], encoding="utf-8")
        page.problems.clear()
        page.requests.clear()
        page.go(path, **window)
        assert page.evaluate("document.readyState") == "complete"
        assert page.requests == [path.as_uri()]
        return page

    yield show
    assert page.problems == []


def keep(page, name):
    """Keep a picture for a person to look at, where one is wanted."""
    folder = os.environ.get("MILLSTREAM_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(Path(folder) / f"{name}.png")


def search(page, words):
    page.evaluate(
        "{const box = document.getElementById('search'); box.value = "
        f"{words!r}; box.dispatchEvent(new Event('input', {{bubbles: true}}));}}"
    )


def test_the_map_is_drawn_and_its_points_lie_inside(show):
    page = show("shown")
    assert page.evaluate(SHOWN) == 100
    inside = (
        "[...document.querySelectorAll('#map circle')].every((c) => {"
        "const box = document.getElementById('map').getBoundingClientRect(), at = c.getBoundingClientRect();"
        "return at.width > 3 && at.left >= box.left && at.right <= box.right"
        " && at.top >= box.top && at.bottom <= box.bottom;})"
    )
    assert page.evaluate(inside) is True
    colours = (
        "new Set([...document.querySelectorAll('#map circle')].map((c) => getComputedStyle(c).fill)).size"
    )
    assert page.evaluate(colours) == 2
    keep(page, "wide")


def test_the_search_filters_the_map_and_lists_what_it_finds(show):
    page = show("shown")
    search(page, "SERVER full")
    found = page.evaluate(SHOWN)
    assert 0 < found < 100
    assert page.evaluate("document.getElementById('count').textContent") == f"{found} of 100"
    listed = page.evaluate("[...document.querySelectorAll('#found li')].map((item) => item.textContent)")
    assert len(listed) == min(found, 21)  # twenty, and how many more there are
    assert all("server" in text and "full" in text for text in listed[:20])
    search(page, "no such word")
    assert page.evaluate(SHOWN) == 0
    search(page, "")
    assert page.evaluate(SHOWN) == 100


def test_pointing_at_a_record_shows_its_text_and_label(show):
    page = show("shown")
    at = page.evaluate(
        "{const c = document.querySelectorAll('#map circle')[99]; c.scrollIntoView({block: 'center'});"
        "const box = c.getBoundingClientRect(); [box.x + box.width / 2, box.y + box.height / 2]}"
    )
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1])
    said = page.evaluate("document.getElementById('said').textContent")
    assert said.startswith("disk: ")
    assert said.endswith(" 99")


def test_a_group_can_be_chosen_and_let_go(show):
    page = show("shown")
    button = "document.querySelectorAll('#groups button')[0]"
    page.evaluate(f"{button}.click()")
    assert page.evaluate(SHOWN) == 50
    assert page.evaluate(f"{button}.getAttribute('aria-pressed')") == "true"
    page.evaluate(f"{button}.click()")
    assert page.evaluate(SHOWN) == 100


def test_texts_that_look_like_markup_stay_texts(show):
    page = show("hostile")
    search(page, "script")
    assert page.evaluate("document.title").endswith(": report")
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert "<img src=x" in page.evaluate("document.querySelector('#found li').textContent")


def test_without_texts_the_map_is_there_and_silent(show):
    page = show("anonymous")
    assert page.evaluate(SHOWN) == 120
    assert page.evaluate("document.getElementById('search')") is None
    page.evaluate("document.querySelector('#map circle').dispatchEvent(new Event('click'))")
    assert page.evaluate("document.getElementById('said').textContent").startswith("cluster ")


@pytest.mark.parametrize("name", ["shown", "hostile", "words"])
def test_on_a_phone_nothing_sticks_out(show, name):
    page = show(name, width=360, height=780)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    keep(page, f"phone-{name}")


def test_in_dark_mode_the_paper_is_dark_and_the_ink_light(show):
    brightness = "Math.max(...getComputedStyle(document.body).{}.match(/\\d+/g).slice(0, 3).map(Number))"
    page = show("shown", dark=True)
    assert page.evaluate(brightness.format("backgroundColor")) < 60
    assert page.evaluate(brightness.format("color")) > 200
    keep(page, "dark")
    page = show("shown")
    assert page.evaluate(brightness.format("backgroundColor")) > 200
    assert page.evaluate(brightness.format("color")) < 60


def test_a_group_of_records_is_opened_from_the_map_and_shows_its_points(show):
    page = show("grouped")
    first, second = (f"document.querySelectorAll('#record-groups details')[{k}]" for k in range(2))

    def shown_once(expression, value):
        wait_for(lambda: page.evaluate(expression), expression, lambda found: found == value)
        return page.evaluate(SHOWN)

    page.evaluate(f"{first}.open = true")
    inside = shown_once(f"{SHOWN} < 100", value=True)
    page.evaluate(f"{second}.open = true")
    other = shown_once(f"{first}.open", value=False)
    assert min(inside, other) > 30
    assert 80 < inside + other < 100, "some are in no group"
    page.evaluate("document.querySelector('#map circle:not(.off)').dispatchEvent(new Event('click'))")
    assert page.evaluate(SHOWN) == other
    keep(page, "grouped")
    page.evaluate(f"{first}.open = true")
    assert shown_once(f"{second}.open", value=False) == inside
    page.evaluate(f"{first}.open = false")
    shown_once(SHOWN, 100)
