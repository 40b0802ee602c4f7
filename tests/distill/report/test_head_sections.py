"""What a report and a card say of heads."""

import re

import numpy as np
import pytest
from distill_report import HOSTILE

from distill.report.head_sections import card_with_heads, page_with_heads
from encoder.heads.scoring import Classifier, Novelty, Prototypes

FACTS = {"records": 1200, "accuracy": 0.95, "log_loss": 0.125, "ece": 0.0149}
CARD = "# small\n\nA model.\n\n## How it was made\n\nBy hand.\n"


def vectors(n):
    return np.zeros((n, 4), np.float32)


def classifier(name="kind", labels=("ham", "spam"), **facts):
    return Classifier(name, labels, vectors(len(labels)), np.zeros(len(labels), np.float32), metadata=facts)


HEADS = [
    Novelty("odd", vectors(3), np.zeros(3), np.ones(2), 2.5, {"records": 5000, "alert_rate": 0.001}),
    classifier(**FACTS),
    Prototypes("incident", ("disk", "pin"), vectors(2), 0.75, {"examples": {"disk": 5, "pin": 6}}),
]


def rows(page):
    (section,) = re.findall(r'<section id="heads">.*?</section>', page, re.DOTALL)
    return [re.findall(r"<td>(.*?)</td>", line) for line in section.splitlines() if "<td>" in line]


def test_a_page_has_a_row_for_each_head_before_how_it_was_made(pages):
    page = page_with_heads(pages["shown"], HEADS)
    assert rows(page) == [
        [
            "incident",
            "prototypes",
            "the nearest of 2: disk, pin; a match from a cosine of 0.750",
            "11 examples",
            "-",
        ],
        [
            "kind",
            "classifier",
            "one of 2: ham, spam",
            "1,200 records",
            "accuracy 0.950, log loss 0.125, calibration error 0.015",
        ],
        [
            "odd",
            "novelty",
            "the distance from normal records; novel above 2.500",
            "5,000 records, with an alert rate of 0.100%",
            "-",
        ],
    ]
    assert page.index('id="quality"') < page.index('id="heads"') < page.index('id="lineage"')
    assert page_with_heads(page, []) == pages["shown"]


def test_heads_take_the_place_of_those_before(pages):
    once = page_with_heads(pages["shown"], [classifier(**FACTS)])
    assert page_with_heads(once, HEADS) == page_with_heads(pages["shown"], HEADS)
    assert card_with_heads(card_with_heads(CARD, HEADS[:1]), HEADS) == card_with_heads(CARD, HEADS)


def test_no_label_becomes_markup(pages):
    page = page_with_heads(pages["shown"], [classifier(labels=("ham", HOSTILE))])
    assert page.count("<script") == pages["shown"].count("<script")
    assert "<img" not in page
    card = card_with_heads(CARD, [classifier(labels=(HOSTILE, "![](https://example.org/a.png)"))])
    assert not re.search(r"(?<!\\)(<|!\[|https:)", card)


def test_a_page_of_another_making_stays_as_it_is():
    assert page_with_heads("<p>a page", HEADS) == "<p>a page"


def test_a_card_has_a_table_before_how_it_was_made():
    card = card_with_heads(CARD, HEADS)
    assert card.index("# small") < card.index("## Heads") < card.index("## How it was made")
    assert "| kind | classifier | one of 2: ham, spam | 1,200 records | accuracy 0.950" in card
    assert card.endswith("By hand.\n")


def test_a_card_of_another_making_has_it_at_its_end():
    card = card_with_heads("# theirs\n\nWords.\n", HEADS[:1])
    assert card.startswith("# theirs\n\nWords.\n\n## Heads\n")
    assert card.endswith("an alert rate of 0.100% | - |\n")
    assert card_with_heads(card, HEADS) == card_with_heads("# theirs\n\nWords.\n", HEADS)


@pytest.mark.slow
@pytest.mark.parametrize("head", [classifier(), Novelty("odd", vectors(3), np.zeros(3), np.ones(2), 2.5)])
def test_a_head_that_does_not_say_how_it_was_fitted_is_shown_too(head, pages):
    ((*_, fitted, held_out),) = rows(page_with_heads(pages["shown"], [head]))
    assert (fitted, held_out) == ("-", "-")


def test_of_many_labels_the_first_are_named():
    labels = tuple(f"label{k}" for k in range(30))
    card = card_with_heads(CARD, [classifier(labels=labels)])
    assert "one of 30: label0, label1, label2, label3, label4, label5 and 24 more |" in card
