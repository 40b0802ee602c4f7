"""Drift of a stream: windows of its records are compared with the baseline of the model's version.

A sample is measured, which depends on the batches alone: all records of small batches, and of large ones 64
of 16,384, evenly spaced. `DriftWindow` holds what they add up to. It knows nothing of Kafka, Beam or clocks.
"""

import heapq
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from encoder import Encoder
from encoder.errors import ConfigurationError
from encoder.heads.drift import UNKNOWN, UNUSUAL, Drift, Shift
from encoder.heads.drift_labels import label_shares, scored_heads
from encoder.heads.scoring import Classifier, Head, unit_vectors
from pipelines.records.template import TextTemplate

__all__ = ["Baseline", "DriftWindow", "Unusual", "WindowDrift", "baseline_of"]

_SAMPLED = 64  # records of a batch that are measured
_EVERY = 16_384  # records between two large batches of which some are
_TOKENISED = 2  # of these, those whose unknown tokens are counted, which takes a hundred times as long
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
        labels: for each classifier half of the sum of what the shares of its labels changed by, 0 to 1.
        examples: the most unusual records, the most unusual first.
    """

    shift: Shift
    records: int
    unknown: float
    unusual: float
    labels: dict[str, float]
    examples: list[Unusual]


class Baseline(NamedTuple):
    """The baseline of a model, and the classifiers whose labels it counts, those that are still the same."""

    head: Drift
    classifiers: list[Classifier]
    columns: NDArray[np.int64]  # of the baseline's labels: where those of the classifiers are


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
    classifiers = [one for one in heads if isinstance(one, Classifier)]
    same = [one for one in classifiers if scored_heads([one]).items() <= head.scored.items()]
    labels = [f"{one.name}={label}" for one in same for label in one.labels]
    return Baseline(head, same, np.array([head.labels.index(label) for label in labels], np.int64))


class DriftWindow:
    """Adds up what records of a window are like.

    Args:
        encoder: the model.
        baseline: of the model.
        template: the text of a record.
    """

    def __init__(self, encoder: Encoder, baseline: Baseline, template: TextTemplate) -> None:
        self._encoder = encoder
        self._baseline = baseline
        self._template = template
        self.begin()

    def begin(self) -> None:
        """Begin the next window."""
        n = len(self._baseline.head.measures)
        self._sums, self._counts = np.zeros(n), np.zeros(n)
        self.records = self._named = 0
        self._passed = _EVERY
        self._unusual: list[tuple[float, int, Any]] = []

    def add(self, records: pa.RecordBatch, place: Callable[[int], Any] | None = None) -> None:
        """Measure a sample of a batch.

        Args:
            records: with the fields of the text; each has a text.
            place: says where the record of a row is, to name the unusual ones.
        """
        n = records.num_rows
        self._passed += n
        if not n or (n > _SAMPLED and self._passed < _EVERY):
            return
        self._passed = 0
        rows = np.arange(n) if n <= _SAMPLED else np.arange(_SAMPLED) * n // _SAMPLED
        texts = self._template.apply(records if n <= _SAMPLED else records.take(pa.array(rows)))
        unusual, similarity = self.add_texts(texts)
        if place is not None:
            for i in np.flatnonzero(unusual).tolist():
                self._name(float(similarity[i]), place(int(rows[i])))

    def add_texts(self, texts: pa.Array, n_tokenised: int = _TOKENISED) -> tuple[Any, Any]:
        """Measure all of some texts, and the unknown tokens of the first ones.

        Returns:
            `(n,)` bool, which are unusual; `(n,)` float32, the cosine of each with the nearest group.
        """
        head, classifiers, columns = self._baseline
        n, n_groups = len(texts), len(head.centres)
        vectors = unit_vectors(self._encoder.encode(texts))
        groups, similarity = head.nearest(vectors)
        unusual = similarity < head.threshold
        sums, counts = self._sums, self._counts
        sums[:n_groups] += np.bincount(groups, minlength=n_groups)
        lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
        sums[n_groups : n_groups + 2] += unusual.sum(), np.log1p(lengths).sum()
        counts[: n_groups + 2] += n
        if classifiers:
            sums[n_groups + 2 + columns] += label_shares(classifiers, vectors)[2].sum(axis=0)
            counts[n_groups + 2 + columns] += n
        some = texts.slice(0, n_tokenised).to_pylist()
        sums[-1] += self._encoder.unknown_share(some).sum()
        counts[-1] += len(some)
        self.records += n
        return unusual, similarity

    def _name(self, similarity: float, place: Any) -> None:
        """Keep a record if it is among the most unusual ones."""
        self._named += 1
        one = (-similarity, self._named, place)
        if len(self._unusual) < _UNUSUAL:
            heapq.heappush(self._unusual, one)
        elif one[0] > self._unusual[0][0]:
            heapq.heapreplace(self._unusual, one)

    def drift(self) -> WindowDrift:
        """Hold the window against the baseline."""
        head, classifiers, _ = self._baseline
        shift = head.shift(self._sums, self._counts)
        at = head.measures.index
        changes = np.abs(shift.means - head.means)
        labels = {
            one.name: float(sum(changes[at(f"{one.name}={label}")] for label in one.labels)) / 2
            for one in classifiers
        }
        examples = [Unusual(-one[0], one[2]) for one in sorted(self._unusual, key=lambda one: -one[0])]
        unknown, unusual = shift.means[at(UNKNOWN)], shift.means[at(UNUSUAL)]
        return WindowDrift(shift, self.records, float(unknown), float(unusual), labels, examples)
