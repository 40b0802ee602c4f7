"""The metrics, and figures: a metric's value on a set, with its interval."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from distill.evaluation.bootstrap import Estimate

__all__ = ["METRICS", "Figure", "Metric", "figure", "json_values"]


class Metric(NamedTuple):
    """A metric.

    Attributes:
        title: what it measures.
        best: the highest value. Metrics against human labels go up to 100, as in MTEB; agreement with another
            model goes up to 1.
        needs: the parameters of `Sets`, or of `evaluate`, that it needs.
    """

    title: str
    best: int
    needs: str


METRICS = {
    "overlap@10": Metric(
        "share of the 10 nearest neighbours in common with the reference", 1, "`records` and `against`"
    ),
    "rank-correlation": Metric(
        "rank correlation of similarities with the reference", 1, "`records` and `against`"
    ),
    "knn": Metric("accuracy of the 10 nearest neighbours' vote", 100, "`records` and `labels`"),
    "logistic": Metric("accuracy of a logistic regression", 100, "`records` and `labels`"),
    "average-precision": Metric("average precision of a logistic regression", 100, "`records` and `labels`"),
    "sts": Metric("Spearman correlation with human similarity scores", 100, "`pairs`"),
    "classification": Metric("accuracy with a few training texts per label", 100, "`classifications`"),
    "ndcg@10": Metric("nDCG of the first 10 passages", 100, "`retrievals`"),
    "recall@10": Metric("recall of the first 10 passages", 100, "`retrievals`"),
}
"""The metrics by name, in the order of reports."""


@dataclass(frozen=True)
class Figure:
    """The value of a metric on a set.

    Attributes:
        metric: one of `METRICS`.
        dataset: the name of the set.
        value: the value, in the metric's unit.
        low: the lower end of the 95 % interval.
        high: the upper end of the 95 % interval.
        n: the number of records, pairs, texts or queries.
    """

    metric: str
    dataset: str
    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """Format the figure as `83.4 [82.1, 84.6]`, with one digit for percentages and three otherwise."""
        digits = 1 if METRICS[self.metric].best == 100 else 3
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def figure(metric: str, dataset: str, estimate: Estimate) -> Figure:
    """Make a figure from an estimate on a scale to 1."""
    found = estimate.scaled(METRICS[metric].best)
    return Figure(metric, dataset, found.value, found.low, found.high, found.n)


def json_values(value: Any) -> Any:
    """Replace NaN and infinities, which JSON lacks, with None, and tuples with lists, at any depth."""
    if isinstance(value, dict):
        return {key: json_values(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
