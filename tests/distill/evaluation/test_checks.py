"""Sets that measure nothing are refused."""

import pytest

from distill.evaluation import Classification, Labelled, Records, Sets, check_sets
from encoder.errors import InputError


def texts(n):
    return [f"text {k}" for k in range(n)]


def test_records_for_agreement_are_more_than_neighbours():
    few = Sets(records=Records("records", texts(10)))
    with pytest.raises(InputError, match="10 texts are too few for 10 neighbours"):
        check_sets(few, reference=True)
    check_sets(few, reference=False)
    check_sets(Sets(records=Records("records", texts(11))), reference=True)


def test_two_labels_come_twice():
    with pytest.raises(InputError, match="the 20 records have 20 labels, and fewer than two that come twice"):
        check_sets(Sets(records=Records("records", texts(20), texts(20))), reference=True)
    check_sets(Sets(records=Records("records", texts(20), ["a", "b"] * 10)), reference=True)


def test_texts_to_learn_from_have_two_labels():
    def task(labels):
        return Sets(
            classifications=(Classification("mine", Labelled(texts(2), labels), Labelled(["x"], ["a"])),)
        )

    with pytest.raises(InputError, match="mine has one label in all texts to learn from: 'a'"):
        check_sets(task(["a", "a"]), reference=False)
    check_sets(task(["a", "b"]), reference=False)
