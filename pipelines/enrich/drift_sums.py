"""What records of a window add up to, how far that is from a baseline, and what is said of it."""

import heapq
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ConfigurationError
from encoder.heads.drift import UNKNOWN, UNUSUAL, Drift, Shift
from encoder.heads.drift_labels import Counted, label_names, scored_heads
from encoder.heads.groups import Groups
from encoder.heads.scoring import Head

__all__ = ["Baseline", "DriftSums", "Unusual", "WindowDrift", "baseline_of", "measured_baseline"]

_UNUSUAL = 20  # records of a window that are named


class Unusual(NamedTuple):
    """One of the most unusual records of a window: how near the nearest group is, and where the record is."""

    similarity: float
    place: Any


class WindowDrift(NamedTuple):
    """A window, compared with the baseline.

    Attributes:
        shift: how far it is from it.
        records: how many records were measured.
        unknown: the share of unknown tokens.
        unusual: the share of unusual records.
        labels: for each classifier half of the sum of what the shares of its labels changed by, 0 to 1; for
            groups what the share of records in no group changed by.
        examples: the most unusual records, the most unusual first.
    """

    shift: Shift
    records: int
    unknown: float
    unusual: float
    labels: dict[str, float]
    examples: list[Unusual]

    def log(self, logger: logging.Logger, seconds: float, label: str) -> None:
        """Log the window: as a warning if it is further away than one in a thousand."""
        shift = self.shift
        logger.log(
            logging.WARNING if shift.drift > 1 else logging.INFO,
            "drift %.2f in %d records of %.0f s: %s is %.4g, and %.4g in the baseline of %s",
            *(shift.drift, self.records, seconds),
            *(shift.measure, shift.found, shift.expected, label),
        )

    def report(
        self, began: float, ended: float, label: str, place: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        """What is written of the window, as JSON.

        Args:
            began: when the window began, in seconds since the epoch.
            ended: when it ended.
            label: of the model.
            place: where a record is, of one of the places in `examples`.
        """
        shift = self.shift
        return {
            "from": _iso(began),
            "to": _iso(ended),
            "model": label,
            "records": self.records,
            "drift": shift.drift,
            "measure": shift.measure,
            "expected": shift.expected,
            "found": shift.found,
            "unknown_tokens": self.unknown,
            "unusual_records": self.unusual,
            "label_shift": self.labels,
            "unusual": [{**place(one.place), "similarity": one.similarity} for one in self.examples],
        }


class Baseline(NamedTuple):
    """The baseline of a model, and the heads whose labels it counts, those that are still the same."""

    head: Drift
    counted: list[Counted]
    columns: NDArray[np.int64]  # of the baseline's labels: where those of these heads are


def baseline_of(heads: Sequence[Head]) -> Baseline | None:
    """The baseline among the heads of a model, or None.

    Raises:
        ConfigurationError: the model has several.
    """
    found = [head for head in heads if isinstance(head, Drift)]
    if len(found) > 1:
        names = ", ".join(head.name for head in found)
        raise ConfigurationError(f"the model has several drift baselines, {names}: publish it with one")
    if not found:
        return None
    [head] = found
    counted = [one for one in sorted(heads, key=lambda one: one.name) if isinstance(one, Counted)]
    same = [one for one in counted if scored_heads([one]).items() <= head.scored.items()]
    labels = [name for one in same for name in label_names(one)]
    return Baseline(head, same, np.array([head.labels.index(label) for label in labels], np.int64))


def measured_baseline(heads: Sequence[Head], label: str, logger: logging.Logger) -> Baseline | None:
    """The baseline of a version that is in use; one that cannot be used is logged, and stops nothing."""
    try:
        return baseline_of(heads)
    except ConfigurationError as error:
        logger.warning("%s: no drift is measured: %s", label, error)
        return None


@dataclass
class DriftSums:
    """What records add up to: numbers and places, no texts, so that it can be kept and sent.

    Attributes:
        sums: `(n_measures,)` the sums of the measures.
        counts: `(n_measures,)` of how many records each.
        records: how many records were measured.
        unusual: the similarities and places of the most unusual ones, in no order.
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]
    records: int = 0
    unusual: list[Unusual] = field(default_factory=list)

    @classmethod
    def none(cls, baseline: Baseline) -> "DriftSums":
        """No records."""
        n = len(baseline.head.measures)
        return cls(np.zeros(n), np.zeros(n))

    def name(self, found: Sequence[Unusual]) -> None:
        """Keep records if they are among the most unusual ones."""
        if found:
            self.unusual = heapq.nsmallest(_UNUSUAL, [*self.unusual, *found], key=lambda one: one.similarity)

    def __add__(self, other: "DriftSums") -> "DriftSums":
        """The records of both."""
        both = DriftSums(
            self.sums + other.sums, self.counts + other.counts, self.records + other.records, self.unusual
        )
        both.name(other.unusual)
        return both

    def drift(self, baseline: Baseline) -> WindowDrift:
        """Hold the records against the baseline."""
        head, counted, _ = baseline
        shift = head.shift(self.sums, self.counts)
        at = head.measures.index
        changes = np.abs(shift.means - head.means)
        labels = {
            one.name: float(sum(changes[at(name)] for name in label_names(one)))
            / (1 if isinstance(one, Groups) else 2)
            for one in counted
        }
        examples = sorted(self.unusual, key=lambda one: one.similarity)
        unknown, unusual = shift.means[at(UNKNOWN)], shift.means[at(UNUSUAL)]
        return WindowDrift(shift, self.records, float(unknown), float(unusual), labels, examples)


def _iso(seconds: float) -> str:
    """A time as ISO 8601, whatever its year."""
    return f"{np.datetime64(round(seconds * 1e6), 'us')}+00:00"
