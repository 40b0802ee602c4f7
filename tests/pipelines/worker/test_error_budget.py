import random

import numpy as np
import pytest

from encoder.errors import InputError
from pipelines.records.bad_rows import DeadLetter
from pipelines.worker.error_budget import Counted, ErrorBudget
from pipelines.worker.offsets import CommitNote


class Reader:
    """Reads one partition in batches."""

    def __init__(self, limit, begin=None):
        self.budget = ErrorBudget(limit)
        self.budget.begin(0, begin or Counted())

    def read(self, bad, first=0):
        """Records from an offset on, of which some are bad."""
        n = len(bad)
        letters = [DeadLetter(row, "TRANSFORMATION", "not JSON") for row in range(n) if bad[row]]
        self.budget.spend(np.zeros(n, np.int32), np.arange(first, first + n), letters)


def of(n, n_bad):
    """`n` records, of which `n_bad` are bad, evenly spread."""
    return (np.arange(1, n + 1) * n_bad // n) > (np.arange(n) * n_bad // n)


def test_few_bad_records_are_tolerated():
    reader = Reader(0.011)
    for turn in range(100):
        reader.read(of(1000, 10), turn * 1000)


def test_too_many_stop_the_worker_and_say_why():
    with pytest.raises(InputError, match=r"of the last .* records are bad.*not JSON.*--max-dead-letters"):
        Reader(0.01).read(of(1000, 20))


def test_a_few_records_prove_nothing():
    reader = Reader(0.01)
    reader.read([True] * 99)
    with pytest.raises(InputError, match="100 of the last 100 records are bad"):
        reader.read([True], 99)


def test_good_records_of_long_ago_do_not_excuse_bad_ones():
    reader = Reader(0.5)
    reader.read([False] * 1_000_000)
    reader.read([True] * 6000, 1_000_000)
    with pytest.raises(InputError, match="of the last 10,000"):
        reader.read([True] * 2000, 1_006_000)


def test_a_full_budget_never_stops():
    Reader(1.0).read([True] * 100_000)


def test_what_is_ignored_counts_neither_as_good_nor_as_bad():
    budget = ErrorBudget(0.1)
    budget.begin(0, Counted())
    budget.spend(np.zeros(1000, np.int32), np.arange(1000), [], ignored=range(1000))
    assert budget.counted(0) == (0, 0, 1000)


def test_partitions_are_counted_together():
    budget = ErrorBudget(0.1)
    budget.begin(3, Counted(1000, 0, 50))
    budget.begin(7, Counted())
    letters = [DeadLetter(row, "TRANSFORMATION", "bad") for row in range(99)]
    budget.spend(np.full(99, 7, np.int32), np.arange(99), letters)  # of partition 7 alone it would be all
    budget.end([3])
    with pytest.raises(InputError, match="100 of the last 100"):
        budget.spend(np.full(1, 7, np.int32), np.array([99]), letters[:1])


def outcome(bad, limit, cuts, committed_behind=0):
    """The offset at which reading stops, in batches that end at `cuts`, with a restart after each of them.

    After a restart some records that were counted are read again, as those of files that were not written.
    """
    note, first = CommitNote(), 0
    for cut in (*cuts, len(bad)):
        reader = Reader(limit, note.counted)
        start = max(0, first - committed_behind)
        for begin in range(start, cut, 700):
            try:
                reader.read(bad[begin : min(begin + 700, cut)], begin)
            except InputError:
                return reader.budget.counted(0).bad > 0
        note = CommitNote.parse(str(CommitNote().with_counted(reader.budget.counted(0))))
        first = cut
    return False


@pytest.mark.parametrize("behind", [0, 5000])
@pytest.mark.parametrize(("limit", "stops"), [(0.02, True), (0.04, False)])
def test_it_does_not_matter_where_a_worker_restarts(limit, stops, behind):
    """300 bad records in a row among 40,000 good ones are 3 % of the last 10,000."""
    bad = np.zeros(40_300, bool)
    bad[20_000:20_300] = True
    dice = random.Random(0)
    near = [19_999, 20_000, 20_001, 20_150, 20_299, 20_300, 20_301]
    for cuts in [
        [],
        *([cut] for cut in near),
        *(sorted(dice.sample(range(1, 40_300), 5)) for _ in range(20)),
    ]:
        assert outcome(bad, limit, cuts, behind) == stops, cuts
