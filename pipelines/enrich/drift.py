"""Drift of a stream: windows of its records are compared with the baseline of the model's version.

A sample is measured, which depends on the batches alone: all records of small batches, and of large ones 64
of 16,384, evenly spaced. `DriftWindow` holds what they add up to. It knows nothing of Kafka, Beam or clocks.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoder import Encoder
from encoder.heads.drift_labels import label_shares
from encoder.heads.scoring import unit_vectors
from pipelines.enrich.drift_sums import Baseline, DriftSums, Unusual, WindowDrift
from pipelines.enrich.enrichment import bad_texts
from pipelines.records.bad_rows import good_rows
from pipelines.records.template import TextTemplate

__all__ = ["DriftWindow"]

_SAMPLED = 64  # records of a batch that are measured
_EVERY = 16_384  # records between two large batches of which some are
_TOKENISED = 2  # of these, those whose unknown tokens are counted, which takes a hundred times as long


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
        self.sums = DriftSums.none(self._baseline)
        self._passed = _EVERY

    def take(self) -> DriftSums:
        """What was measured since the last call; it does not change which records are measured."""
        taken, self.sums = self.sums, DriftSums.none(self._baseline)
        return taken

    def add(self, records: pa.RecordBatch, place: Callable[[int], Any] | None = None) -> None:
        """Measure a sample of a batch.

        Args:
            records: with the fields of the text; those without a text are left out.
            place: says where the record of a row is, to name the unusual ones.
        """
        n = records.num_rows
        self._passed += n
        if not n or (n > _SAMPLED and self._passed < _EVERY):
            return
        self._passed = 0
        rows = np.arange(n) if n <= _SAMPLED else np.arange(_SAMPLED) * n // _SAMPLED
        texts = self._template.apply(records if n <= _SAMPLED else records.take(pa.array(rows)))
        if bad := bad_texts(texts, self._template.source):
            good = good_rows(len(texts), bad)
            rows, texts = rows[good], texts.take(pa.array(good))
        if not len(texts):
            return
        unusual, similarity = self.add_texts(texts)
        if place is not None:
            some = np.flatnonzero(unusual).tolist()
            self.sums.name([Unusual(float(similarity[i]), place(int(rows[i]))) for i in some])

    def add_texts(self, texts: pa.Array, n_tokenised: int = _TOKENISED) -> tuple[Any, Any]:
        """Measure all of some texts, and the unknown tokens of the first ones.

        Returns:
            `(n,)` bool, which are unusual; `(n,)` float32, the cosine of each with the nearest group.
        """
        head, counted, columns = self._baseline
        n, n_groups, encoder = len(texts), len(head.centres), self._encoder
        vectors = unit_vectors(encoder.encode(texts))
        groups, similarity = head.nearest(vectors)
        unusual = head.unusual(groups, similarity)
        lengths = np.log1p(pc.utf8_length(texts).to_numpy(zero_copy_only=False))
        sums, counts = self.sums.sums, self.sums.counts
        sums[:n_groups] += np.bincount(groups, minlength=n_groups)
        first = n_groups + len(unusual) + 2
        sums[n_groups:first] += (
            *unusual.sum(axis=1),
            head.new_words(encoder.tokenise(texts)).sum(),
            lengths.sum(),
        )
        counts[:first] += n
        if counted:
            sums[first + columns] += label_shares(counted, vectors, texts, encoder.masks)[2].sum(axis=0)
            counts[first + columns] += n
        some = texts.slice(0, n_tokenised).to_pylist()
        sums[-1] += encoder.unknown_share(some).sum()
        counts[-1] += len(some)
        self.sums.records += n
        return unusual[0], similarity

    def drift(self) -> WindowDrift:
        """Hold the window against the baseline."""
        return self.sums.drift(self._baseline)
