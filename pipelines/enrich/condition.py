"""Conditions on the columns that a model adds: `fraud_score >= 0.9 and known_label is not None`.

A condition is a Python expression of comparisons, `and`, `or`, `not`, `in` and `is None`. It is parsed by
Python and computed by Arrow, never executed. As in SQL, a comparison with null holds for no row.
"""

import ast
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from numpy.typing import NDArray

from encoder.errors import ConfigurationError
from pipelines.records.bad_rows import one_line

__all__ = ["Condition"]

_COMPARE: dict[type[ast.cmpop], Any] = {
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
}
_EXAMPLE = "fraud_score >= 0.9 and fraud_label == 'fraud'"


class _Misfit(Exception):
    """An expression cannot be computed."""


@dataclass(frozen=True)
class Condition:
    """Which enriched records to take.

    Attributes:
        source: as the user wrote it.
    """

    source: str
    _tree: ast.expr = field(repr=False, compare=False)

    @classmethod
    def parse(cls, source: str) -> Self:
        """Parse a condition.

        Example:
            >>> batch = pa.record_batch({"fraud_score": [0.2, 0.95, None]})
            >>> Condition.parse("fraud_score >= 0.9")(batch)
            array([False,  True, False])

        Raises:
            ConfigurationError: it is no such expression.
        """
        try:
            tree = ast.parse(source.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            raise ConfigurationError(
                f"cannot read the condition {source!r} ({reason}): write it as in {_EXAMPLE}"
            ) from error
        return cls(source, tree)

    def check(self, schema: pa.Schema) -> None:
        """Check that the columns of a schema are those that the condition needs.

        Raises:
            ConfigurationError: one is missing or of another type, or the condition does more than compare.
        """
        try:
            self(pa.RecordBatch.from_arrays([pa.array([], one.type) for one in schema], schema=schema))
        except (_Misfit, pa.ArrowException, TypeError, OverflowError, RecursionError) as error:
            raise ConfigurationError(
                f"the condition {self.source!r} cannot be used: {one_line(error)}"
            ) from error

    def __call__(self, batch: pa.RecordBatch) -> NDArray[np.bool_]:
        """`(n,)` bool, the rows for which the condition holds."""
        found = _value(self._tree, batch)
        if not isinstance(found, pa.Array) or not pt.is_boolean(found.type):
            raise _Misfit("it is neither true nor false")
        holds: NDArray[np.bool_] = pc.fill_null(found, False).to_numpy(zero_copy_only=False)
        return holds


def _value(node: ast.expr, batch: pa.RecordBatch) -> Any:
    """An expression as an array, or as a value of Python if it is the same for all rows."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            return [_value(part, batch) for part in parts]
        case ast.Name(id=name):
            return _column(batch, name)
        case ast.Attribute(value=inner, attr=name):
            return _inner(_value(inner, batch), name)
        case ast.BoolOp(op=op, values=parts):
            join = pc.and_kleene if isinstance(op, ast.And) else pc.or_kleene
            return reduce(join, [_value(part, batch) for part in parts])
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return pc.invert(_value(inner, batch))
        case ast.Compare():
            sides = [node.left, *node.comparators]
            pairs = zip(pairwise(sides), node.ops, strict=True)
            return reduce(pc.and_kleene, [_compared(one, op, other, batch) for (one, other), op in pairs])
    raise _Misfit(f"{ast.unparse(node)!r} is not a comparison of columns, as in {_EXAMPLE}")


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    if name not in batch.schema.names:
        raise _Misfit(f"there is no column {name!r}; the model adds {', '.join(batch.schema.names)}")
    column = batch.column(name)
    return column.dictionary_decode() if pt.is_dictionary(column.type) else column


def _inner(value: Any, name: str) -> pa.Array:
    if not isinstance(value, pa.Array) or not pt.is_struct(value.type):
        raise _Misfit(f".{name} is a part of no struct")
    if (place := value.type.get_field_index(name)) < 0:
        raise _Misfit(f"there is no .{name}, but {', '.join(part.name for part in value.type)}")
    return value.flatten()[place]


def _compared(left: ast.expr, op: ast.cmpop, right: ast.expr, batch: pa.RecordBatch) -> pa.Array:
    one, other = _value(left, batch), _value(right, batch)
    if isinstance(op, ast.Is | ast.IsNot):
        if other is not None or not isinstance(one, pa.Array):
            raise _Misfit("`is` is for `is None` and `is not None`")
        return pc.is_null(one) if isinstance(op, ast.Is) else pc.is_valid(one)
    if isinstance(op, ast.In | ast.NotIn):
        found = _contained(one, other)
        return (
            found
            if isinstance(op, ast.In)
            else pc.and_(pc.invert(found), pc.is_valid(one if isinstance(one, pa.Array) else other))
        )
    if not isinstance(one, pa.Array) and not isinstance(other, pa.Array):
        raise _Misfit(f"{ast.unparse(left)!r} and {ast.unparse(right)!r} are not columns")
    if one is None or other is None:
        raise _Misfit("a comparison with None holds for no row: write `is None`")
    return _COMPARE[type(op)](_as(one, other), _as(other, one))


def _as(value: Any, column: Any) -> Any:
    """A value in the type of the column that it is compared with: 0.9 is a float32's 0.9 there."""
    if isinstance(value, pa.Array) or not isinstance(column, pa.Array):
        return value
    return pa.scalar(value, column.type) if pt.is_floating(column.type) else pa.scalar(value)


def _contained(one: Any, other: Any) -> pa.Array:
    """Which rows of a column are in a list of values, or which lists of a column have a value."""
    if isinstance(one, pa.Array) and isinstance(other, list):
        return pc.is_in(one, value_set=pa.array(other, one.type))
    if isinstance(other, pa.Array) and pt.is_list(other.type) and not isinstance(one, pa.Array):
        same = pc.equal(pc.list_flatten(other), pa.scalar(one, other.type.value_type))
        rows = pc.list_parent_indices(other).filter(pc.fill_null(same, False))
        return pc.is_in(pa.array(np.arange(len(other))), value_set=rows)
    raise _Misfit("`in` is for a column in a list of values, or a value in a column of lists")
