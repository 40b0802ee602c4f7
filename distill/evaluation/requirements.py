"""Requirements: the figures that a model must reach, such as `sts>=75`, and whether sets can measure them."""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

from distill.evaluation.agreement import check_enough
from distill.evaluation.figures import METRICS, Figure
from distill.evaluation.labelled import split_half
from distill.evaluation.sets import Sets
from encoder.errors import ConfigurationError, InputError

__all__ = ["Requirement", "check_measurable", "check_sets", "unmet"]

_PATTERN = re.compile(
    r"\s*(?P<metric>[a-z][a-z0-9@-]*)(?:\s*:\s*(?P<dataset>[^<>=]+?))?\s*(?P<sign>>=|>)\s*(?P<value>-?(\d+(\.\d*)?|\.\d+))\s*"
)
_SIGNS = {">=": operator.ge, ">": operator.gt}


@dataclass(frozen=True)
class Requirement:
    """The least value of a metric.

    Attributes:
        source: the text of the requirement.
        metric: one of `METRICS`.
        dataset: the name of the set; None for every set that the metric is measured on.
        sign: `>=` or `>`.
        threshold: the value, in the metric's unit.
    """

    source: str
    metric: str
    dataset: str | None
    sign: str
    threshold: float

    @classmethod
    def parse(cls, text: str) -> "Requirement":
        """Parse `METRIC>=NUMBER` or `METRIC:SET>=NUMBER`.

        Raises:
            ConfigurationError: the text is invalid, the metric is unknown, or the number is not in its unit.
        """
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ConfigurationError(
                f"cannot read the requirement {text!r}: write METRIC>=NUMBER, like sts>=75 or overlap@10>=0.5"
            )
        metric, threshold = match["metric"], float(match["value"])
        if metric not in METRICS:
            known = ", ".join(METRICS)
            raise ConfigurationError(f"the requirement {text!r} names an unknown metric: use one of {known}")
        best = METRICS[metric].best
        if threshold > best:
            raise ConfigurationError(f"the requirement {text!r} can never be met: {metric} is at most {best}")
        if best == 100 and 0 < threshold <= 1:
            raise ConfigurationError(
                f"the requirement {text!r} is almost always met: {metric} goes up to 100, so write "
                f"{metric}{match['sign']}{100 * threshold:g}"
            )
        return cls(text.strip(), metric, match["dataset"], match["sign"], threshold)

    def covers(self, figure: Figure) -> bool:
        """Whether the requirement applies to a figure."""
        return figure.metric == self.metric and self.dataset in (None, figure.dataset)

    def holds(self, figure: Figure) -> bool:
        """Whether a figure meets the requirement; its interval does not matter."""
        return bool(_SIGNS[self.sign](figure.value, self.threshold))


def check_measurable(requirements: Sequence[Requirement], sets: Sets, *, reference: bool) -> None:
    """Check that the sets measure every requirement, before anything is computed.

    Args:
        requirements: the requirements.
        sets: the sets to evaluate on.
        reference: whether there is a reference model to compare with.

    Raises:
        ConfigurationError: no set measures a requirement.
    """
    names = _measured(sets, reference=reference)
    for requirement in requirements:
        there = names.get(requirement.metric, ())
        if not there:
            needs = METRICS[requirement.metric].needs
            if reference:
                needs = needs.removesuffix(" and `against`")
            raise ConfigurationError(f"{requirement.source} cannot be measured: give {needs}")
        if requirement.dataset is not None and requirement.dataset not in there:
            raise ConfigurationError(
                f"{requirement.source} names an unknown set: {requirement.metric} is measured on "
                f"{', '.join(there)}"
            )


def _measured(sets: Sets, *, reference: bool) -> dict[str, list[str]]:
    """Return the names of the sets that each metric is measured on."""
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


def check_sets(sets: Sets, *, reference: bool) -> None:
    """Refuse sets that are too small to measure anything.

    Args:
        sets: the sets to evaluate on.
        reference: whether there is a reference model to compare with.

    Raises:
        InputError: there are too few records or labels.
    """
    if sets.records and reference:
        check_enough(len(sets.records.texts))
    if sets.records and sets.records.labels is not None:
        split_half(sets.records.labels)
    for task in sets.classifications:
        labels = set(task.train.labels)
        if len(labels) < 2:
            raise InputError(
                f"all training texts of {task.name} have the label {min(labels)!r}: give two or more"
            )


def unmet(requirements: Sequence[Requirement], figures: Sequence[Figure]) -> list[str]:
    """Return one line per unmet requirement: the requirement, the set, the value and its interval."""
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
