"""The gate: what figures a model must reach to be published, as `sts>=75` or `overlap@10>=0.5`."""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

from distill.evaluation.figures import METRICS, Figure
from distill.evaluation.sets import Sets
from encoder.errors import ConfigurationError

__all__ = ["Requirement", "check_measurable", "unmet"]

_PATTERN = re.compile(
    r"\s*(?P<metric>[a-z][a-z0-9@-]*)(?:\s*:\s*(?P<dataset>[^<>=]+?))?\s*(?P<sign>>=|>)\s*(?P<value>-?(\d+(\.\d*)?|\.\d+))\s*"
)
_SIGNS = {">=": operator.ge, ">": operator.gt}
_HUNDRED = 100


@dataclass(frozen=True)
class Requirement:
    """One requirement.

    Attributes:
        source: as it was written.
        metric: one of `METRICS`.
        dataset: the set that it is about, or None for all sets that the metric is measured on.
        sign: `>=` or `>`.
        threshold: in the metric's unit.
    """

    source: str
    metric: str
    dataset: str | None
    sign: str
    threshold: float

    @classmethod
    def parse(cls, text: str) -> "Requirement":
        """Read `METRIC>=NUMBER` or `METRIC:SET>=NUMBER`.

        Raises:
            ConfigurationError: it cannot be read, the metric is unknown, or the number is not in its unit.
        """
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ConfigurationError(
                f"cannot read the requirement {text!r}: write METRIC>=NUMBER, as sts>=75 or overlap@10>=0.5"
            )
        metric, threshold = match["metric"], float(match["value"])
        if metric not in METRICS:
            known = ", ".join(METRICS)
            raise ConfigurationError(f"the requirement {text!r} names no metric: use one of {known}")
        best = METRICS[metric].best
        if threshold > best:
            raise ConfigurationError(f"the requirement {text!r} can never be met: {metric} is at most {best}")
        if best == _HUNDRED and 0 < threshold <= 1:
            raise ConfigurationError(
                f"the requirement {text!r} asks for next to nothing: {metric} is of 100, so write "
                f"{metric}{match['sign']}{100 * threshold:g}"
            )
        return cls(text.strip(), metric, match["dataset"], match["sign"], threshold)

    def covers(self, figure: Figure) -> bool:
        """Whether it is about this figure."""
        return figure.metric == self.metric and self.dataset in (None, figure.dataset)

    def holds(self, figure: Figure) -> bool:
        """Whether a figure reaches it; the figure itself counts, not its interval."""
        return bool(_SIGNS[self.sign](figure.value, self.threshold))


def check_measurable(requirements: Sequence[Requirement], sets: Sets, *, reference: bool) -> None:
    """Check that each requirement will have a figure, before anything is computed.

    Args:
        requirements: what is required.
        sets: what will be measured.
        reference: whether there is a model to agree with.

    Raises:
        ConfigurationError: a requirement has no set.
    """
    names = _measured(sets, reference=reference)
    for requirement in requirements:
        there = names.get(requirement.metric, ())
        if not there:
            needs = METRICS[requirement.metric].needs
            raise ConfigurationError(f"{requirement.source} cannot be measured: give {needs}")
        if requirement.dataset is not None and requirement.dataset not in there:
            raise ConfigurationError(
                f"{requirement.source} names no set: {requirement.metric} is measured on {', '.join(there)}"
            )


def _measured(sets: Sets, *, reference: bool) -> dict[str, list[str]]:
    """The names of the sets that each metric is measured on."""
    own = [sets.records.name] if sets.records else []
    agreement = own if reference else []
    labelled = own if sets.records and sets.records.labels is not None else []
    searches = [search.name for search in sets.retrievals]
    return {
        "overlap@10": agreement,
        "rank-correlation": agreement,
        "knn": labelled,
        "logistic": labelled,
        "average-precision": labelled,
        "sts": [pairs.name for pairs in sets.pairs],
        "classification": [task.name for task in sets.classifications],
        "ndcg@10": searches,
        "recall@10": searches,
    }


def unmet(requirements: Sequence[Requirement], figures: Sequence[Figure]) -> list[str]:
    """What is not met, one line each: the requirement, the set, the value and its interval."""
    lines = []
    for requirement in requirements:
        covered = [figure for figure in figures if requirement.covers(figure)]
        if not covered:
            lines.append(f"{requirement.source}: not measured")
        lines += [
            f"{requirement.source}: {figure.dataset} has {figure}"
            for figure in covered
            if not requirement.holds(figure)
        ]
    return lines
