"""Error handling of our transforms, in the form that Beam's own transforms use."""

import copy
from typing import Any, Self

import apache_beam as beam
from apache_beam.transforms.error_handling import ErrorHandler

from encoder.errors import ConfigurationError, InputError

__all__ = ["INPUT_ERRORS", "ErrorHandling", "failed_row"]

INPUT_ERRORS = (InputError, ConfigurationError)
"""Errors that the rows of a batch cause; any other error fails the bundle."""

FailedRow = tuple[Any, tuple[type[Exception], str, list[str]]]


def failed_row(row: Any, error: Exception) -> FailedRow:
    """A bad row as Beam's dead letters have it: `(row, (type of the error, its repr, traceback lines))`."""
    return row, (type(error), repr(error), [f"{type(error).__name__}: {error}\n"])


class ErrorHandling(beam.PTransform[Any, Any]):
    """A transform that can send its bad rows to an output of their own.

    By default the first bad row raises `InputError` and so fails the pipeline: no row is dropped silently.
    """

    _main_tag = "good"
    _bad_tag: str | None = None
    _handler: ErrorHandler | None = None

    def with_exception_handling(
        self,
        main_tag: str = "good",
        dead_letter_tag: str = "bad",
        *,
        error_handler: ErrorHandler | None = None,
    ) -> Self:
        """The same transform with two outputs, `good` and `bad`.

        Args:
            main_tag: the tag of rows with vectors.
            dead_letter_tag: the tag of bad rows. Each is an element `(row, (type of the error, its repr,
                traceback lines))`; a row of a record batch is a dict.
            error_handler: takes the bad rows; the transform then has one output.
        """
        changed = copy.copy(self)
        changed._main_tag, changed._bad_tag, changed._handler = main_tag, dead_letter_tag, error_handler  # noqa: SLF001 - its own copy
        return changed

    def with_error_handler(self, error_handler: ErrorHandler | None) -> Self:
        """The same transform with its bad rows sent to Beam's `ErrorHandler`; None changes nothing."""
        return self if error_handler is None else self.with_exception_handling(error_handler=error_handler)

    def _outputs(self, rows: Any, step: beam.ParDo, kind: Any) -> Any:
        """Apply a step that tags bad rows with `_bad_tag`."""
        step = step.with_output_types(kind)
        if self._bad_tag is None:
            return rows | "Encode" >> step
        both = rows | "Encode" >> step.with_outputs(self._bad_tag, main=self._main_tag)
        if self._handler is None:
            return both
        self._handler.add_error_pcollection(both[self._bad_tag])
        return both[self._main_tag]
