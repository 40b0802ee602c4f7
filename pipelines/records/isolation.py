"""A record that cannot be processed leaves alone: a batch that fails is halved until the culprit is found.

    done, failed = isolate(len(values), lambda first, stop: decode(values[first:stop]))

A batch without such a record is processed once, as a whole. What no record causes, such as a store that does
not answer, stays an error.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

from encoder.errors import (
    ConfigurationError,
    IntegrityError,
    ModelFormatError,
    QualityTooLow,
    TemplateError,
    TransientError,
)
from pipelines.records.bad_rows import DeadLetter, Stage, one_line

__all__ = ["Isolated", "StepFailed", "fault_of", "isolate", "letter_of", "may_be_of_record", "step"]

T = TypeVar("T")

_OF_NO_RECORD = (
    ConfigurationError,
    IntegrityError,
    ModelFormatError,
    QualityTooLow,
    TemplateError,
    TransientError,
    MemoryError,
    OSError,
)
_PANIC = "PanicException"  # what Rust libraries raise through PyO3; it is no `Exception`


def may_be_of_record(error: BaseException) -> bool:
    """Whether a record may have caused an error; not the model, the settings, a service or the machine."""
    if isinstance(error, StepFailed):
        return True
    if isinstance(error, Exception):
        return not isinstance(error, _OF_NO_RECORD)
    return type(error).__name__ == _PANIC


class StepFailed(Exception):
    """A step of the processing failed, perhaps because of a record; the cause says why.

    Attributes:
        stage: the step.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.stage: Stage = stage


@contextmanager
def step(stage: Stage) -> Iterator[None]:
    """Name the step in which a record fails.

    Raises:
        StepFailed: a record may have caused the error inside the block.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, StepFailed) or not may_be_of_record(error):
            raise
        raise StepFailed(stage) from error


class Isolated(NamedTuple, Generic[T]):
    """What became of a batch.

    Attributes:
        done: the results in order, each with the number of its first record.
        failed: the errors of the records that failed alone, by their numbers, ascending.
    """

    done: list[tuple[int, T]]
    failed: dict[int, BaseException]


def isolate(n: int, work: Callable[[int, int], T]) -> Isolated[T]:
    """Process a batch, in halves where that fails, so that a bad record costs only itself.

    Args:
        n: the number of records.
        work: processes the records from a first number up to a last one (exclusive). It changes nothing
            outside, since it is called again for the parts of what failed.

    Raises:
        BaseException: an error that no record causes.
    """
    found: Isolated[T] = Isolated([], {})
    _isolate(0, n, work, found)
    return found


def _isolate(first: int, stop: int, work: Callable[[int, int], T], found: Isolated[T]) -> None:
    try:
        found.done.append((first, work(first, stop)))
    except BaseException as error:
        if stop == first or not may_be_of_record(error):
            raise
        if stop - first == 1:
            found.failed[first] = error
            return
    else:
        return
    half = (first + stop) // 2
    _isolate(first, half, work, found)
    _isolate(half, stop, work, found)


def fault_of(error: BaseException) -> str:
    """The type of a record's error and its message, in one line."""
    cause = _cause(error)
    return f"{type(cause).__name__}: {one_line(cause)}"


def letter_of(row: int, error: BaseException) -> DeadLetter:
    """The dead letter of a record that failed alone."""
    stage: Stage = error.stage if isinstance(error, StepFailed) else "TRANSFORMATION"
    kind = type(_cause(error))
    return DeadLetter(row, stage, fault_of(error), f"{kind.__module__}.{kind.__qualname__}")


def _cause(error: BaseException) -> BaseException:
    return error.__cause__ or error if isinstance(error, StepFailed) else error
