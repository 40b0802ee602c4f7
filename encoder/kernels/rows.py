"""Sum rows of a table, some columns at a time, so that the sums stay in registers."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from encoder.aligned import LINE

__all__ = ["add_rows"]

_PASSES = (1024, 512, 256, 64)
"""Bytes of sums per pass over the rows; the first size is half of AVX-512's registers.

Fewer passes read a row in fewer parts, and processors prefetch what follows a part.
"""
_AHEAD = 8
"""How many rows ahead to prefetch: random rows of a large table come from the third-level cache."""

_utils: Any = cgutils  # it has no types
_ALWAYS = (ir.IntType(32)(0), ir.IntType(32)(3), ir.IntType(32)(1))  # for reading, into all caches, data


def _add_rows(typingctx: Any, ids: Any, first: Any, last: Any, table: Any, sums: Any) -> Any:
    """Sum rows and return for how many columns, without a check of bounds.

    The rows are `ids[first:last]` (int32) of `table`, `(n, dim)` int8 or float32, C-contiguous. Their sums go
    to the first columns of `sums`, `(dims,)` int16 for int8 and float32 for float32; the caller does the
    remaining columns, fewer than 64 bytes of sums. Ids after `last` are only prefetched, and may be anything.
    """
    integers = table.dtype == types.int8

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = [
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args, args, strict=True)
            if isinstance(kind, types.Array)
        ]
        dims = _utils.unpack_tuple(builder, arrays[2].shape)[0]
        column = dims.type(0)
        for size in _PASSES:
            count = dims.type(size // (2 if integers else 4))
            passes = builder.udiv(builder.sub(dims, column), count)
            with _utils.for_range(builder, passes) as loop:
                begin = builder.add(column, builder.mul(loop.index, count))
                _pass(builder, size, integers, arrays, args[1], args[2], begin)
            column = builder.add(column, builder.mul(passes, count))
        return column

    return types.int64(ids, types.int64, types.int64, table, sums), generate


add_rows: Any = intrinsic(_add_rows)


def _pass(
    builder: Any, size: int, integers: bool, arrays: list[Any], first: Any, last: Any, column: Any
) -> None:
    """Generate code that computes `size` bytes of sums from a column on."""
    rows, vectors, out = arrays
    count = size // (2 if integers else 4)
    values: Any = ir.VectorType(ir.IntType(8) if integers else ir.FloatType(), count)
    added: Any = ir.VectorType(ir.IntType(16) if integers else ir.FloatType(), count)
    dim, n_ids = _utils.unpack_tuple(builder, vectors.shape)[1], _utils.unpack_tuple(builder, rows.shape)[0]

    def piece(place: Any) -> Any:
        row = builder.zext(builder.load(builder.gep(rows.data, [place])), dim.type)
        return builder.gep(vectors.data, [builder.add(builder.mul(row, dim), column)])

    total = _utils.alloca_once(builder, added)
    builder.store(ir.Constant(added, None), total)  # for each pass
    with _utils.for_range_slice(builder, first, last, first.type(1)) as (place, _):
        later = builder.add(place, place.type(_AHEAD))
        _fetch(builder, piece(builder.select(builder.icmp_signed("<", later, n_ids), later, place)), values)
        value = builder.load(builder.bitcast(piece(place), values.as_pointer()), align=1)
        if integers:
            value = builder.add(builder.load(total), builder.sext(value, added))
        else:
            value = builder.fadd(builder.load(total), value)
        builder.store(value, total)
    target = builder.bitcast(builder.gep(out.data, [column]), added.as_pointer())
    builder.store(builder.load(total), target, align=2)


def _fetch(builder: Any, piece: Any, values: Any) -> None:
    """Generate code that prefetches a part of a row."""
    byte: Any = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, *(constant.type for constant in _ALWAYS)])
    prefetch = _utils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    bytes_ = values.count * (1 if values.element == ir.IntType(8) else 4)
    begin = builder.bitcast(piece, byte)
    for line in range(0, bytes_, LINE):
        builder.call(prefetch, [builder.gep(begin, [ir.IntType(64)(line)]), *_ALWAYS])
