"""Sums of rows of a table, some columns at a time, such that the sums stay in registers."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LARGE", "SMALL", "add_large", "add_small"]

LARGE, SMALL = 256, 64
"""Bytes of sums that `add_large` and `add_small` write: 128 and 32 int16, or 64 and 16 float32."""

_new: Any = cgutils.alloca_once  # these have no types
_tuple: Any = cgutils.unpack_tuple


def _adder(size: int) -> Callable[..., Any]:
    def _add(typingctx: Any, ids: Any, first: Any, last: Any, table: Any, column: Any, sums: Any) -> Any:  # noqa: ARG001 - Numba's protocol
        """Write the sum of some columns of rows; bounds are not checked.

        `ids[first:last]` (int32) are the rows of `table`, `(n, dim)` int8 or float32, C-contiguous; written
        are `sums`, `(dim,)` int16 for int8 and float32 for float32, from `column` on.
        """
        integers = table.dtype == types.int8
        count = size // (2 if integers else 4)
        values: Any = ir.VectorType(ir.IntType(8) if integers else ir.FloatType(), count)
        added: Any = ir.VectorType(ir.IntType(16) if integers else ir.FloatType(), count)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            arrays = [
                context.make_array(kind)(context, builder, value)
                for kind, value in zip(signature.args, args, strict=True)
                if isinstance(kind, types.Array)
            ]
            rows, vectors, out = arrays
            dim = _tuple(builder, vectors.shape)[1]
            total = _new(builder, added)
            builder.store(ir.Constant(added, None), total)
            with cgutils.for_range_slice(builder, args[1], args[2], args[1].type(1)) as (place, _):
                row = builder.zext(builder.load(builder.gep(rows.data, [place])), dim.type)
                start = builder.add(builder.mul(row, dim), args[4])
                source = builder.bitcast(builder.gep(vectors.data, [start]), values.as_pointer())
                value = builder.load(source, align=1)
                if integers:
                    value = builder.add(builder.load(total), builder.sext(value, added))
                else:
                    value = builder.fadd(builder.load(total), value)
                builder.store(value, total)
            target = builder.bitcast(builder.gep(out.data, [args[4]]), added.as_pointer())
            builder.store(builder.load(total), target, align=2)
            return context.get_dummy_value()

        return types.void(ids, types.int64, types.int64, table, types.int64, sums), generate

    return _add


add_large: Any = intrinsic(_adder(LARGE))
add_small: Any = intrinsic(_adder(SMALL))
