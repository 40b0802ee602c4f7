"""A batch that fails is halved until the bad record is alone; what no record causes stays an error."""

import pytest

from encoder.errors import (
    ConfigurationError,
    CorruptVersion,
    InputError,
    ModelFormatError,
    RegistryUnavailable,
    StoreUnavailable,
)
from pipelines.records.bad_rows import DeadLetter
from pipelines.records.isolation import StepFailed, fault_of, isolate, letter_of, step


class PanicException(BaseException):
    """As PyO3 raises it when Rust code panics."""


def doubled(values, bad=(), error=ValueError):
    calls = []

    def work(first, stop):
        calls.append((first, stop))
        if culprits := [row for row in range(first, stop) if row in bad]:
            raise error(f"row {culprits[0]}")
        return [2 * value for value in values[first:stop]]

    done, failed = isolate(len(values), work)
    found = {first + i: value for first, part in done for i, value in enumerate(part)}
    return found, failed, calls


@pytest.mark.parametrize("bad", [{0}, {99}, {3, 4, 50}, set(range(100)), set(range(0, 100, 2))])
@pytest.mark.parametrize("error", [ValueError, OverflowError, RecursionError, InputError, PanicException])
def test_only_the_bad_records_fail(bad, error):
    found, failed, _ = doubled(range(100), bad, error)
    assert found == {row: 2 * row for row in range(100) if row not in bad}
    assert list(failed) == sorted(bad)
    assert all(str(one) == f"row {row}" for row, one in failed.items())


def test_a_batch_without_a_bad_record_is_processed_once():
    assert doubled(range(1000))[2] == [(0, 1000)]
    assert doubled([])[:2] == ({}, {})


def test_one_bad_record_costs_few_calls():
    assert len(doubled(range(2000), {777})[2]) <= 2 * 11 + 1


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError,
        CorruptVersion,
        ModelFormatError,
        RegistryUnavailable,
        StoreUnavailable,
        MemoryError,
        ConnectionResetError,
        KeyboardInterrupt,
        SystemExit,
    ],
)
def test_what_no_record_causes_stays_an_error(error):
    with pytest.raises(error):
        doubled(range(10), {3}, error)
    with pytest.raises(error), step("TASK_PUT"):
        raise error


def test_an_error_without_records_stays_an_error():
    def work(*_):
        raise ValueError("empty")

    with pytest.raises(ValueError, match="empty"):
        isolate(0, work)


def test_a_letter_says_the_step_the_type_and_the_message():
    with pytest.raises(StepFailed) as caught, step("TASK_PUT"):
        raise OverflowError("too\nlarge \ud800")
    letter = DeadLetter(3, "TASK_PUT", r"OverflowError: too large \ud800", "builtins.OverflowError")
    assert letter_of(3, caught.value) == letter
    assert letter_of(3, ValueError("x")).stage == "TRANSFORMATION"
    assert len(fault_of(ValueError("x" * 1_000_000))) < 1100
