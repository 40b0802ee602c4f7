"""The gate."""

import pytest

from distill.evaluation import (
    Classification,
    Figure,
    Labelled,
    Pairs,
    Records,
    Requirement,
    Sets,
    check_measurable,
    check_sets,
    unmet,
)
from encoder.errors import ConfigurationError, InputError

STS = Figure("sts", "stsb", 74.2, 72.0, 76.0, 1500)
OVERLAP = Figure("overlap@10", "records", 0.5, 0.48, 0.52, 900)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sts>=75", ("sts", None, ">=", 75)),
        (" overlap@10 > 0.5 ", ("overlap@10", None, ">", 0.5)),
        ("sts:stsb dev-2>=75.5", ("sts", "stsb dev-2", ">=", 75.5)),
        ("overlap@10>=.5", ("overlap@10", None, ">=", 0.5)),
        ("sts : stsb >= 75.", ("sts", "stsb", ">=", 75)),
        ("rank-correlation>=-0.1", ("rank-correlation", None, ">=", -0.1)),
    ],
)
def test_what_can_be_required(text, parts):
    found = Requirement.parse(text)
    assert (found.metric, found.dataset, found.sign, found.threshold) == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read the requirement ''"),
        ("sts", "write METRIC>=NUMBER"),
        ("sts=75", "write METRIC>=NUMBER"),
        ("sts<=75", "write METRIC>=NUMBER"),
        ("sts>=high", "write METRIC>=NUMBER"),
        ("accuracy>=75", "names an unknown metric: use one of overlap@10, "),
        ("sts>=101", "can never be met: sts is at most 100"),
        ("overlap@10>=50", "can never be met: overlap@10 is at most 1"),
        ("sts>=0.75", "sts goes up to 100, so write sts>=75"),
    ],
)
def test_what_cannot_is_said_in_one_line(text, message):
    with pytest.raises(ConfigurationError) as caught:
        Requirement.parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_met_is_named_with_value_and_interval():
    required = [Requirement.parse(text) for text in ("sts>=75", "overlap@10>=0.5")]
    assert unmet(required, [STS, OVERLAP]) == ["sts>=75: stsb has 74.2 [72.0, 76.0]"]
    assert unmet([Requirement.parse("overlap@10>0.5")], [OVERLAP]) == [
        "overlap@10>0.5: records has 0.500 [0.480, 0.520]"
    ]


def test_one_without_a_set_is_about_every_set():
    other = Figure("sts", "other", 80, 79, 81, 10)
    assert unmet([Requirement.parse("sts>=75")], [STS, other]) == ["sts>=75: stsb has 74.2 [72.0, 76.0]"]
    assert unmet([Requirement.parse("sts:other>=75")], [STS, other]) == []


def test_a_figure_that_is_no_number_or_not_there_meets_nothing():
    nothing = Figure("sts", "stsb", float("nan"), float("nan"), float("nan"), 2)
    assert len(unmet([Requirement.parse("sts>=-100")], [nothing])) == 1
    assert unmet([Requirement.parse("sts>=-100")], []) == ["sts>=-100: not measured"]


def test_what_will_not_be_measured_is_refused_beforehand():
    sets = Sets(records=Records("records", ["a"]), pairs=(Pairs("stsb", ["a"], ["b"], [1.0]),))
    check_measurable([Requirement.parse("sts>=75")], sets, reference=False)
    check_measurable([Requirement.parse("overlap@10>=0.5")], sets, reference=True)
    for text, message in [
        ("overlap@10>=0.5", "cannot be measured: give `records` and `against`"),
        ("knn>=50", "cannot be measured: give `records` and `labels`"),
        ("ndcg@10>=50", "cannot be measured: give `retrievals`"),
        ("sts:x>=50", "names an unknown set: sts is measured on stsb"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            check_measurable([Requirement.parse(text)], sets, reference=False)


def texts(n):
    return [f"text {k}" for k in range(n)]


def test_records_for_agreement_are_more_than_neighbours():
    few = Sets(records=Records("records", texts(10)))
    with pytest.raises(InputError, match="10 texts are too few for 10 neighbours"):
        check_sets(few, reference=True)
    check_sets(few, reference=False)
    check_sets(Sets(records=Records("records", texts(11))), reference=True)


def test_two_labels_come_twice():
    with pytest.raises(InputError, match="20 records have 20 labels, and fewer than two of them occur twice"):
        check_sets(Sets(records=Records("records", texts(20), texts(20))), reference=True)
    check_sets(Sets(records=Records("records", texts(20), ["a", "b"] * 10)), reference=True)


def test_texts_to_learn_from_have_two_labels():
    def task(labels):
        return Sets(
            classifications=(Classification("mine", Labelled(texts(2), labels), Labelled(["x"], ["a"])),)
        )

    with pytest.raises(InputError, match="all training texts of mine have the label 'a'"):
        check_sets(task(["a", "a"]), reference=False)
    check_sets(task(["a", "b"]), reference=False)
