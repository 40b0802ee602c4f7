import pytest

from encoder.errors import InputError
from pipelines.worker.error_budget import ErrorBudget


def test_few_bad_records_are_tolerated():
    budget = ErrorBudget(0.01)
    for _ in range(100):
        budget.spend(1000, 10, "bad")


def test_too_many_stop_the_worker_and_say_why():
    budget = ErrorBudget(0.01)
    with pytest.raises(
        InputError, match=r"11 of the last 1,000 records are bad.*not JSON.*--max-dead-letters"
    ):
        budget.spend(1000, 11, "not JSON")


def test_a_few_records_prove_nothing():
    budget = ErrorBudget(0.01)
    for _ in range(99):
        budget.spend(1, 1, "bad")
    with pytest.raises(InputError):
        budget.spend(1, 1, "bad")


def test_good_records_of_long_ago_do_not_excuse_bad_ones():
    budget = ErrorBudget(0.5)
    for _ in range(1000):
        budget.spend(1000, 0, "")
    for _ in range(5):
        budget.spend(1000, 1000, "bad")
    with pytest.raises(InputError, match="of the last"):
        budget.spend(1000, 1000, "bad")


def test_a_full_budget_never_stops():
    budget = ErrorBudget(1.0)
    for _ in range(100):
        budget.spend(1000, 1000, "bad")
