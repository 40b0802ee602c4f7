"""The section of a report about a drift baseline."""

import re

import numpy as np
import pytest

from distill.report.head_sections import page_with_heads
from encoder.heads.drift import Drift
from encoder.heads.scoring import unit_vectors

PAGE = '<h1>x</h1>\n<section id="lineage"></section>\n'


@pytest.fixture
def head():
    means = [0.5, 0.3, 0.2, 0.01, 0.05, 0.05, 0, np.log1p(40), 0.9, 0.001]
    numbers = [means, np.full(10, 0.01), np.full(10, 1000), [32, 1 << 15], [4, 4]]
    return Drift(
        "usual",
        unit_vectors(np.random.default_rng(0).normal(size=(3, 8))),
        0.25,
        np.full(3, 0.1, np.float32),
        np.array([0.5, 2], np.float32),
        np.array([255], np.uint8),
        ("fraud=<ham>",),
        {"fraud": "0"},
        *(np.array(one, np.float32) for one in numbers),
        {"held_out_drift": 3.0},
    )


def test_a_baseline_says_what_would_differ(head):
    page = page_with_heads(PAGE, [head])
    section = re.search(r'<section id="drift-baseline">.*?</section>', page, re.DOTALL)[0]
    rows = [re.findall("<td>(.*?)</td>", row) for row in re.findall("<tr><td>.*?</tr>", section)]
    found = {name: cells for name, *cells in rows}
    away = 4 * np.sqrt(0.01 * (1 / 1000 + 1 / 1000))
    assert found["unusual"][:2] == ["1.00 %", f"above {1 + 100 * away:.2f} %"]
    assert found["group 1"][:2] == ["50.00 %", f"{50 - 100 * away:.2f} % to {50 + 100 * away:.2f} %"]
    assert found["length"][0] == "40 characters"
    assert found["fraud=&lt;ham&gt;"][0] == "90.00 %"
    assert "1,000 records were like, in 3 groups" in section
    assert "so the ranges are wide" in section


def test_a_section_takes_the_place_of_the_one_before(head):
    page = page_with_heads(PAGE, [head])
    assert page_with_heads(page, [head]) == page
    assert page_with_heads(page, []) == PAGE
