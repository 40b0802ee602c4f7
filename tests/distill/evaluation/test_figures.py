"""Figures are JSON, which has neither NaN nor infinities."""

import json
import math

from distill.evaluation.figures import json_values


def test_figures_that_are_not_finite_become_null_at_any_depth():
    found = json_values({"a": (1.5, math.nan), "b": [{"c": math.inf}, -math.inf], "d": "x"})
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "a": [1.5, None],
        "b": [{"c": None}, None],
        "d": "x",
    }
