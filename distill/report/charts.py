"""The coordinates of the page's SVG drawings: strips of intervals, curves, and a band."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.evaluate import Evaluation, side_by_side
from distill.evaluation.figures import METRICS
from distill.report.histogram import LengthClass

__all__ = ["WIDTH", "band", "curve", "quality_rows"]

WIDTH, HEIGHT = 600, 240
"""The size of a drawing in SVG units."""

_MARGIN = 0.08  # share of a strip's range, at both ends
_POINTS = 64  # on a curve


def quality_rows(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Lay out one strip per figure: its title, and the text and position of each model.

    Every strip has its own scale, from the lowest to the highest end of its intervals.
    """
    rows = []
    for metric, dataset, n, figures in side_by_side(evaluations):
        valid = [(i, each) for i, each in enumerate(figures) if each and not math.isnan(each.value)]
        ends = [end for _, each in valid for end in (each.low, each.high, each.value) if not math.isnan(end)]
        low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
        margin = max((high - low) * _MARGIN, 1e-9)
        position = partial(_position, low=low - margin, high=high + margin)
        cells = [
            {
                "model": i,
                "text": str(each),
                "x": position(each.value),
                "low": position(each.low),
                "high": position(each.high),
            }
            for i, each in valid
        ]
        rows.append(
            {"metric": metric, "title": METRICS[metric].title, "dataset": dataset, "n": n, "cells": cells}
        )
    return rows


def _position(value: float, *, low: float, high: float) -> float:
    return round(1000 * (value - low) / (high - low), 1)


def curve(shares: NDArray[np.float64], max_dims: int) -> str:
    """Return the points of an SVG polyline: shares from 0 to 1 over the first k of `max_dims` dimensions."""
    ks = np.unique(np.linspace(1, len(shares), min(_POINTS, len(shares))).astype(int))
    points = [(0.0, 0.0), *((k / max_dims, shares[k - 1]) for k in ks)]
    return _line([(WIDTH * x, HEIGHT * (1 - y)) for x, y in points])


def band(classes: Sequence[LengthClass]) -> dict[str, Any]:
    """Lay out lengths over log frequencies: the median, the band of 80 %, and the ticks of both axes."""
    if not classes:
        return {}
    first, last = math.log10(classes[0].frequency), math.log10(classes[-1].frequency)
    top = max(each.high for each in classes) or 1.0

    def x(frequency: float) -> float:
        return WIDTH * (math.log10(frequency) - first) / max(last - first, 1e-9)

    def y(length: float) -> float:
        return HEIGHT * (1 - length / top)

    points = [(x(each.frequency), each) for each in classes]
    outline = [(at, y(each.high)) for at, each in points] + [(at, y(each.low)) for at, each in points[::-1]]
    decades = range(math.ceil(first), math.floor(last) + 1)
    return {
        "median": _line([(at, y(each.median)) for at, each in points]),
        "outline": _line(outline),
        "x_ticks": [(round(x(10.0**decade), 1), f"{10**decade:,}") for decade in decades],
        "y_ticks": [(round(y(top * part), 1), f"{top * part:.1f}") for part in (0.0, 0.5, 1.0)],
    }


def _line(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
