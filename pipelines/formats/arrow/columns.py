"""Columns of Arrow messages: the types that most of them have, and rows that fit these types or do not."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from pipelines.formats.arrow.reader import stream_schema
from pipelines.records.bad_rows import one_line
from pipelines.records.fields import conform, join_batches, lossy
from pipelines.records.isolation import fault_of, isolate

__all__ = ["Fitted", "columns_of", "fit", "misfit"]

Fitted = tuple[pa.RecordBatch, "np.ndarray", dict[int, str]]
"""The rows that fit, their positions, and what is wrong with the others."""

_KINDS = (
    ("text", lambda kind: pt.is_string(kind) or pt.is_large_string(kind)),
    ("bytes", lambda kind: pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind)),
    ("number", lambda kind: pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind)),
    ("time with a zone", lambda kind: pt.is_timestamp(kind) and kind.tz is not None),
    ("time without a zone", pt.is_timestamp),
    ("date", pt.is_date),
    ("time of day", pt.is_time),
    ("duration", pt.is_duration),
)
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 20}  # of whole numbers, by their bits
_UNHELD = (pt.is_union, pt.is_list_view, pt.is_large_list_view)


def columns_of(values: Iterable[bytes | None]) -> dict[str, pa.DataType | str]:
    """The columns of a sample of messages.

    Returns:
        The type of each column that the types of all messages fit, or that most of them have; or why no
        column can hold it.
    """
    found: dict[str, Counter[pa.DataType]] = {}
    for value in values:
        for field in stream_schema(value) or ():
            found.setdefault(field.name, Counter())[field.type] += 1
    return {name: _common(kinds) for name, kinds in found.items()}


def _common(kinds: Counter[pa.DataType]) -> pa.DataType | str:
    usual = [kind for kind, _ in kinds.most_common() if not pt.is_null(kind)]
    if not usual:  # no message has a value
        return pa.string()
    if any(is_kind(usual[0]) for is_kind in _UNHELD):
        return f"of the type {usual[0]}"
    try:
        schemas = [pa.schema([("", kind)]) for kind in usual]
        common = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return usual[0]
    return usual[0] if any(misfit(kind, common) for kind in usual) else common


def misfit(source: pa.DataType, target: pa.DataType) -> str | None:
    """Why no value of a type fits another one, or None: single values may still not fit it."""
    if source == target or pt.is_null(source):
        return None
    if pt.is_struct(source) and pt.is_struct(target):
        both = [field for field in source if target.get_field_index(field.name) >= 0]
        reasons = (misfit(field.type, target.field(field.name).type) for field in both)
        return next(filter(None, reasons), None)
    if _is_list(source) and _is_list(target):
        return misfit(source.value_type, target.value_type)
    if pt.is_map(source) and pt.is_map(target):
        return misfit(source.key_type, target.key_type) or misfit(source.item_type, target.item_type)
    if pt.is_decimal(source) and pt.is_floating(target):
        return f"it is {source}, which {target} would round"
    if pt.is_integer(source) and pt.is_decimal(target):
        fits = target.precision - target.scale >= _DIGITS[source.bit_width]
        return None if fits else f"{target} does not hold every {source}"
    for _, is_kind in _KINDS:
        if is_kind(source) or is_kind(target):
            fits = is_kind(source) and is_kind(target)
            what = f"it is {source}, not {target}"
            return what if not fits or (lossy(source, target) and not pt.is_integer(target)) else None
    return f"it is {source}, not {target}"


def _is_list(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_large_list(kind))


def fit(batch: pa.RecordBatch, schema: pa.Schema) -> Fitted:
    """The rows of a batch with the columns of a schema: others are left out, missing ones are null."""
    if batch.schema.equals(schema):
        return batch, np.arange(batch.num_rows), {}
    bad: dict[int, str] = {}
    columns = {}
    for name in schema.names:
        if (place := batch.schema.get_field_index(name)) < 0:
            continue
        values = batch.column(place)
        if reason := misfit(values.type, schema.field(name).type):
            bad |= dict.fromkeys(np.flatnonzero(values.is_valid()).tolist(), f"column {name!r}: {reason}")
            values = pa.nulls(len(values))
        columns[name] = values

    def fitted(first: int, stop: int) -> pa.RecordBatch:
        parts = columns
        if (
            stop - first < batch.num_rows
        ):  # copied: a cast of a slice of lists looks at the items of all lists
            rows = pa.array(np.arange(first, stop))
            parts = {name: values.take(rows) for name, values in columns.items()}
        return conform(parts, schema, stop - first, "the message")

    done, failed = isolate(batch.num_rows, fitted)
    bad |= {row: _reason(error) for row, error in failed.items()}
    rows = np.concatenate([np.zeros(0, np.int64), *(np.arange(a, a + part.num_rows) for a, part in done)])
    found = join_batches([part for _, part in done], schema)
    if bad:
        good = ~np.isin(rows, list(bad))
        found, rows = found.filter(pa.array(good)), rows[good]
    return found, rows, bad


def _reason(error: BaseException) -> str:
    return one_line(error.__cause__) if error.__cause__ is not None else fault_of(error)
