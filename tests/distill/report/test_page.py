"""The page: what it holds, and what it must not."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from distill_report import HOSTILE, make_report

ELEMENTS_WITH_ADDRESSES = {"src", "href", "srcset", "action", "data", "poster"}


class Elements(HTMLParser):
    """All elements of a page with their attributes."""

    def __init__(self, page):
        super().__init__()
        self.found, self.handlers, self.addresses = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [value for name, value in attrs if name in ELEMENTS_WITH_ADDRESSES]


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_it_holds_figures_of_all_models_with_their_intervals(pages):
    page = pages["shown"]
    assert page.count("0.600 [0.550, 0.650]") == 2
    assert page.count("80.0 [70.0, 90.0]") == 2
    for text in (
        "overlap@10 · records",
        "all-MiniLM-L6-v2",
        "events@6",
        "1,000,000",
        "12 principal components",
    ):
        assert text in page
    assert "nan" not in page


def test_it_fetches_nothing_and_runs_nothing_but_its_own_script(pages):
    for page in pages.values():
        elements = Elements(page)
        assert elements.addresses == []
        assert elements.handlers == []
        assert elements.found.count("script") == 3  # the data, the program of the map, and that of the model
        assert "default-src 'none'" in page
        for script in re.findall(r"<script(?: type=\"module\")?>(.*?)</script>", page, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in page
        assert not re.search(r"@import|url\(", page)


def test_no_text_of_a_user_becomes_markup(pages):
    hostile = pages["hostile"]
    shown = Elements(pages["shown"])
    assert set(Elements(hostile).found) == set(shown.found)
    assert 'onerror="' not in hostile
    assert "<img" not in hostile
    assert data_of(hostile)["points"][0]["t"].endswith(HOSTILE)


def test_records_are_in_it_only_when_they_are_asked_for(pages):
    anonymous = pages["anonymous"].partition('<script type="module">')[0]  # behind it, only the program
    for words in ("refused", "terminal", "restarted", "payment", "disk"):
        assert words not in anonymous
    points = data_of(anonymous)["points"]
    assert len(points) == 120
    assert set(points[0]) == {"x", "y", "g"}
    assert 'id="search"' not in anonymous
    assert "--report-records" in anonymous


def test_as_many_records_as_were_asked_for_and_no_other_is_in_it():
    page = make_report(10)
    points = data_of(page)["points"]
    assert len(points) == 10
    numbers = {int(point["t"].rsplit(" ", 1)[1]) for point in points}
    assert numbers == set(range(10))
    assert all(0 <= point["x"] <= 1 and 0 <= point["y"] <= 1 for point in points)
    near = re.findall(r"<li><span>[\d.-]+</span><span[^>]*>([^<]+)</span>", page)
    assert near
    assert {int(text.rsplit(" ", 1)[1]) for text in near} <= numbers


def test_points_have_the_colours_and_the_ids_of_a_heads_groups(pages):
    data = data_of(pages["grouped"])
    assert sorted(data["groups"]) == ["disk", "in no group", "payment"]
    ids = {"disk": "id-disk", "payment": "id-payment", "in no group": None}
    for point in data["points"]:
        assert point["r"] == ids[data["groups"][point["g"]]]
    assert 0 < sum(point["r"] is None for point in data["points"]) < 12
    assert "r" not in data_of(pages["shown"])["points"][0]


def test_without_labels_groups_are_called_by_their_words():
    page = make_report(100, labels=False)
    names = data_of(page)["groups"]
    assert len(names) == 8
    assert all(len(name.split(", ")) == 3 for name in names)


def test_the_same_input_gives_the_same_page(pages):
    assert make_report(100) == pages["shown"]


@pytest.mark.parametrize("shown", [0, 5])
def test_few_records_make_a_page_too(shown):
    assert "<h1>events@7</h1>" in make_report(shown)


@pytest.mark.parametrize("labels", [True, False])
def test_records_are_shown_with_the_masks_of_the_model(labels):
    page = make_report(20, labels=labels, masks="number")
    points = data_of(page)["points"]
    assert len(points) == 20
    assert all(point["t"].endswith(" <number>") for point in points)
    assert not re.search("(refused|terminal|restarted|full) [0-9]", page)
