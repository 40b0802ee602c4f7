"""The error budget: a few bad records are normal, many mean a broken deployment.

What was counted is committed with the offsets, so that it does not matter where a worker restarts or a
partition moves: a record is counted once, and the same records pass or fail.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError
from pipelines.records.bad_rows import DeadLetter
from pipelines.worker.message_batch import runs

__all__ = ["Counted", "ErrorBudget"]

_WINDOW = 10_000
_LEAST = 100
_ROUNDING = 1e-6


class Counted(NamedTuple):
    """What was counted of a partition. Older records count less, as with exponential smoothing.

    Attributes:
        records: records, at most 10,000.
        bad: how many of them are dead letters.
        position: the offset up to which records were counted.
    """

    records: float = 0.0
    bad: float = 0.0
    position: int = 0

    def and_good(self, n_records: int) -> "Counted":
        """With so many good records more."""
        kept = (1 - 1 / _WINDOW) ** n_records
        return Counted(self.records * kept + _WINDOW * (1 - kept), self.bad * kept, self.position)


class ErrorBudget:
    """Raises an error when too many of about the last 10,000 records of each partition are bad.

    The partitions are counted together. The first 100 records always pass.

    Args:
        limit: the tolerated share of bad records, from 0 to 1.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._counted: dict[int, Counted] = {}

    def begin(self, partition: int, counted: Counted) -> None:
        """Add a partition, with what was counted before."""
        self._counted[partition] = counted

    def end(self, partitions: Iterable[int]) -> None:
        """Remove partitions."""
        for partition in partitions:
            self._counted.pop(partition, None)

    def counted(self, partition: int) -> Counted:
        """What was counted of a partition, to commit."""
        return self._counted[partition]

    def spend(
        self,
        partitions: NDArray[np.int32],
        offsets: NDArray[np.int64],
        letters: Sequence[DeadLetter],
        ignored: Sequence[int] = (),
        weights: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """Count a batch.

        Args:
            partitions: `(n,)` int32, of each record.
            offsets: `(n,)` int64, ascending within a partition; records of one message share one.
            letters: those of its records that are bad.
            ignored: rows that count neither as good nor as bad.
            weights: for how many records each bad one counts, if not for one.

        Raises:
            InputError: too many records are bad.
        """
        reasons = {letter.row: letter.reason for letter in letters}
        for partition, first, stop in runs(partitions):
            position = self._counted[partition].position
            new = first  # that was not counted yet
            if offsets[first] < position:
                new += int(np.searchsorted(offsets[first:stop], position))
            n_good = stop - new
            if reasons or ignored:
                n_good = self._count_bad(
                    partition, np.setdiff1d(np.arange(new, stop), ignored), reasons, weights
                )
            records, bad, _ = self._counted[partition].and_good(n_good)
            self._counted[partition] = Counted(records, bad, max(position, int(offsets[stop - 1]) + 1))

    def _count_bad(
        self,
        partition: int,
        rows: NDArray[np.int64],
        reasons: Mapping[int, str],
        weights: Mapping[int, int],
    ) -> int:
        """Count rows up to the last one that is bad; the number of those behind it."""
        done = 0
        for place in np.flatnonzero(np.isin(rows, list(reasons))).tolist():
            row = int(rows[place])
            weight = weights.get(row, 1)
            counted = self._counted[partition].and_good(place - done + weight)
            self._counted[partition] = counted._replace(bad=min(counted.bad + weight, _WINDOW))
            done = place + 1
            self._judge(reasons[row])
        return len(rows) - done

    def _judge(self, reason: str) -> None:
        records = sum(one.records for one in self._counted.values())
        bad = sum(one.bad for one in self._counted.values())
        if round(records) >= _LEAST and bad > self._limit * records + _ROUNDING:
            raise InputError(
                f"{bad:,.0f} of the last {records:,.0f} records are bad, more than {self._limit:.4%} (the "
                f"last one: {reason}); the last batch was not committed: check --text, --input-format and "
                "what writes the topic, or raise --max-dead-letters"
            )
