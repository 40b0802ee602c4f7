"""Coordinates of what is drawn."""

import numpy as np

from distill.evaluation.evaluate import Evaluation
from distill.evaluation.figures import Figure
from distill.report.charts import band, curve, quality_rows
from distill.report.histogram import LengthClass


def measured(name, *figures):
    return Evaluation(name, "static", 8, None, 1.0, None, figures)


def test_a_strip_reaches_from_the_lowest_to_the_highest_end():
    first = measured("a", Figure("sts", "x", 50, 40, 60, 9))
    second = measured("b", Figure("sts", "x", 70, 60, 80, 9), Figure("overlap@10", "y", 1, 1, 1, 3))
    overlap, sts = quality_rows([first, second])
    assert (overlap["metric"], overlap["n"]) == ("overlap@10", 3)
    assert [cell["model"] for cell in overlap["cells"]] == [1]
    low, high = sts["cells"]
    assert 0 < low["low"] < low["x"] < low["high"] == high["low"] < high["x"] < high["high"] < 1000
    assert low["low"] + high["high"] == 1000


def test_figures_that_are_no_number_are_left_out():
    nothing = float("nan")
    (row,) = quality_rows([measured("a", Figure("sts", "x", nothing, nothing, nothing, 2))])
    assert row["cells"] == []


def test_a_curve_goes_from_nothing_to_all():
    points = curve(np.array([0.5, 1.0]), 4).split()
    assert points == ["0.0,240.0", "150.0,120.0", "300.0,0.0"]


def test_a_band_has_its_ticks_at_powers_of_ten():
    classes = [LengthClass(1.4, 5, 0.5, 1, 2), LengthClass(140, 5, 0.1, 0.5, 1)]
    drawn = band(classes)
    assert [label for _, label in drawn["x_ticks"]] == ["10", "100"]
    assert [label for _, label in drawn["y_ticks"]] == ["0.0", "1.0", "2.0"]
    assert drawn["median"].split()[0] == "0.0,120.0"
    assert band([]) == {}
