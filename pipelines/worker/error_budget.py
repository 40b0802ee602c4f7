"""The error budget: a few bad records are normal, many mean a broken deployment."""

from collections import deque

from encoder.errors import InputError

__all__ = ["ErrorBudget"]

_WINDOW = 10_000
_LEAST = 100


class ErrorBudget:
    """Raises an error when too many of the last 10,000 records are bad; the first 100 always pass.

    Args:
        limit: the tolerated share of bad records, from 0 to 1.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._batches: deque[tuple[int, int]] = deque()
        self._records = self._bad = 0

    def spend(self, n_records: int, n_bad: int, reason: str) -> None:
        """Count a batch.

        Args:
            n_records: the number of its records.
            n_bad: how many of them are dead letters.
            reason: why the last of these failed.

        Raises:
            InputError: too many records are bad.
        """
        self._batches.append((n_records, n_bad))
        self._records += n_records
        self._bad += n_bad
        while self._records - self._batches[0][0] >= _WINDOW:
            old_records, old_bad = self._batches.popleft()
            self._records -= old_records
            self._bad -= old_bad
        if self._records >= _LEAST and self._bad > self._limit * self._records:
            raise InputError(
                f"{self._bad:,} of the last {self._records:,} records are bad, more than "
                f"{self._limit:.4%} (the last one: {reason}); the last batch was not committed: check "
                "--text, --input-format and what writes the topic, or raise --max-dead-letters"
            )
