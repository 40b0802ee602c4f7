"""Which rows are good, when some are bad."""

import pytest

from pipelines.records.bad_rows import good_rows


@pytest.mark.parametrize(
    ("n_rows", "bad", "good"),
    [(3, {}, [0, 1, 2]), (4, {2: "not JSON", 0: "null"}, [1, 3]), (2, [1, 0], []), (0, [], [])],
)
def test_good_rows_are_those_that_are_not_bad(n_rows, bad, good):
    found = good_rows(n_rows, bad)
    assert (found.tolist(), found.dtype) == (good, "int64")
