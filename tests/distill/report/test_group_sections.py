"""What a report says of groups."""

import re
from dataclasses import replace

import numpy as np
from distill_report import HOSTILE

from distill.report.head_sections import page_with_heads
from encoder.heads.cases import Strings
from encoder.heads.groups import Groups


def groups(n, hostile="disk <*> full"):
    texts = Strings.of([hostile, *(f"kind {k} <*>" for k in range(1, n))])
    own, sizes = np.arange(n, dtype=np.int32), 1000 + np.arange(n, dtype=np.int64)
    none, ids = Strings.of([""] * n), Strings.of([f"g{k}" for k in range(n)])
    return Groups("event", ids, texts, sizes, none, none, texts, own, texts, own, 4)


def section(page):
    (found,) = re.findall(r'<section id="record-groups">.*?</section>\n', page, re.DOTALL)
    return found


def test_groups_are_listed_from_the_largest_on_and_can_be_opened(pages):
    head = groups(3)
    seen, records = Strings.of(["", "", "2026-01-31T12:00:00Z"]), Strings.of(["", "", "kind 2 a"])
    page = page_with_heads(pages["shown"], [replace(head, first_seen=seen, examples=records)])
    found = section(page)
    assert "<b>event</b>: 3 groups of 3,003 records. Open one" in found
    opened = re.findall(r"<details data-group=\"g\d\">\n<summary>(.*?)</summary>\n<p>(.*?)</p>", found)
    assert opened[0] == ("1,002 · kind 2 &lt;*&gt;", "kind 2 &lt;*&gt;")
    assert [size[:5] for size, _ in opened] == ["1,002", "1,001", "1,000"]
    assert "A record: kind 2 a</p>" in found
    assert "ID g2, first seen 2026-01-31T12:00:00Z</p>" in found
    assert "one of 3 groups by 3 templates</td>" in page
    assert page.index('id="heads"') < page.index('id="record-groups"') < page.index('id="lineage"')


def test_only_the_largest_of_many_groups_are_listed(pages):
    found = section(page_with_heads(pages["shown"], [groups(150)]))
    assert found.count("<details data-group=") == 100
    assert "150 groups of 161,175 records; the largest 100 are listed" in found


def test_groups_take_the_place_of_those_before(pages):
    once = page_with_heads(pages["shown"], [groups(5)])
    assert page_with_heads(once, [groups(2)]) == page_with_heads(pages["shown"], [groups(2)])
    assert page_with_heads(once, []) == pages["shown"]


def test_no_template_becomes_markup(pages):
    page = page_with_heads(pages["shown"], [groups(2, HOSTILE)])
    assert page.count("<script") == pages["shown"].count("<script")
    assert "<img" not in page
