"""What the page draws as SVG, as numbers: strips of intervals, curves, a band. No I/O, no markup."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.evaluate import Evaluation
from distill.evaluation.figures import METRICS
from distill.report.histogram import LengthClass

__all__ = ["WIDTH", "band", "curve", "quality_rows"]

WIDTH, HEIGHT = 600, 240
"""The size of a drawing in its own units."""

_MARGIN = 0.08  # of a strip's range, left free at both ends
_POINTS = 64  # of a curve


def quality_rows(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """One row a figure: its title, and for each model that has it the text and its place on a strip.

    A strip goes from the lowest end of an interval to the highest, so rows are compared along, not across.
    """
    by_name = [{(each.metric, each.dataset): each for each in one.figures} for one in evaluations]
    keys = dict.fromkeys(key for figures in by_name for key in figures)
    rows = []
    for metric, dataset in sorted(keys, key=lambda key: list(METRICS).index(key[0])):
        cells = [(i, found) for i, one in enumerate(by_name) if (found := one.get((metric, dataset)))]
        ends = [end for _, each in cells for end in (each.low, each.high, each.value) if not math.isnan(end)]
        low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
        margin = max((high - low) * _MARGIN, 1e-9)
        low, high = low - margin, high + margin

        def place(value: float, low: float = low, high: float = high) -> float:
            return round(1000 * (value - low) / (high - low), 1)

        rows.append(
            {
                "metric": metric,
                "title": METRICS[metric].title,
                "dataset": dataset,
                "n": cells[0][1].n,
                "cells": [
                    {
                        "model": i,
                        "text": str(each),
                        "x": place(each.value),
                        "low": place(each.low),
                        "high": place(each.high),
                    }
                    for i, each in cells
                    if not math.isnan(each.value)
                ],
            }
        )
    return rows


def curve(shares: NDArray[np.float64], n_most: int) -> str:
    """The points of an SVG line: shares from 0 to 1 over the first k of `n_most` dimensions."""
    ks = np.unique(np.linspace(1, len(shares), min(_POINTS, len(shares))).astype(int))
    points = [(0.0, 0.0), *((k / n_most, shares[k - 1]) for k in ks)]
    return _line([(WIDTH * x, HEIGHT * (1 - y)) for x, y in points])


def band(classes: Sequence[LengthClass]) -> dict[str, Any]:
    """Lengths over frequencies (logarithmic): the median's line, the band of 80 %, ticks of both axes."""
    if not classes:
        return {}
    first, last = math.log10(classes[0].frequency), math.log10(classes[-1].frequency)
    top = max(each.high for each in classes) or 1.0

    def x(frequency: float) -> float:
        return WIDTH * (math.log10(frequency) - first) / max(last - first, 1e-9)

    def y(length: float) -> float:
        return HEIGHT * (1 - length / top)

    there = [(x(each.frequency), each) for each in classes]
    outline = [(at, y(each.high)) for at, each in there] + [(at, y(each.low)) for at, each in there[::-1]]
    decades = range(math.ceil(first), math.floor(last) + 1)
    return {
        "median": _line([(at, y(each.median)) for at, each in there]),
        "outline": _line(outline),
        "x_ticks": [(round(x(10.0**decade), 1), f"{10**decade:,}") for decade in decades],
        "y_ticks": [(round(y(top * part), 1), f"{top * part:.1f}") for part in (0.0, 0.5, 1.0)],
    }


def _line(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
