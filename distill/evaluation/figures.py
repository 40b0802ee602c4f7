"""Figures: what was measured on which set, with its interval, and the metrics that there are."""

from dataclasses import dataclass
from typing import NamedTuple

from distill.evaluation.bootstrap import Estimate

__all__ = ["METRICS", "Figure", "Metric", "figure"]


class Metric(NamedTuple):
    """A kind of figure.

    Attributes:
        title: for people.
        best: the highest value, 100 or 1. Figures against people's labels are of 100, as MTEB prints them;
            agreement with another model is between 0 (or -1) and 1.
        needs: the flag that gives its set.
    """

    title: str
    best: int
    needs: str


METRICS = {
    "overlap@10": Metric("neighbours shared with the reference", 1, "--against and --input"),
    "rank-correlation": Metric("similarities ranked as by the reference", 1, "--against and --input"),
    "knn": Metric("accuracy of the 10 nearest records", 100, "--input and --label"),
    "logistic": Metric("accuracy of a logistic regression", 100, "--input and --label"),
    "average-precision": Metric("average precision of its ranking", 100, "--input and --label"),
    "sts": Metric("Spearman's correlation with people's scores", 100, "--sts"),
    "classification": Metric("accuracy from a few examples of each label", 100, "--classification"),
    "ndcg@10": Metric("nDCG of the first 10 passages", 100, "--retrieval"),
    "recall@10": Metric("answers among the first 10 passages", 100, "--retrieval"),
}
"""The metrics by their names, in the order in which they are shown."""


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        metric: one of `METRICS`.
        dataset: the name of the set.
        value: in the metric's unit.
        low: the lower end of its 95 % interval.
        high: the upper end.
        n: the records, pairs, texts or queries that it was measured on.
    """

    metric: str
    dataset: str
    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """`83.4 [82.1, 84.6]`, with as many digits as the unit wants."""
        digits = 1 if METRICS[self.metric].best == 100 else 3
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def figure(metric: str, dataset: str, estimate: Estimate) -> Figure:
    """A figure in its metric's unit from an estimate between 0 and 1."""
    found = estimate.scaled(METRICS[metric].best)
    return Figure(metric, dataset, found.value, found.low, found.high, found.n)
