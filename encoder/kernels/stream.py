"""Copies past the caches, for arrays that these would not hold until somebody reads them."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from encoder.aligned import LINE

__all__ = ["finish", "stream"]

_utils: Any = cgutils  # it has no types


def _stream(typingctx: Any, source: Any, target: Any) -> Any:
    """Copy `source` to `target`, one-dimensional and of the same type and length, past the caches.

    `target` begins with a cache line and has whole ones.

    A usual store of a line reads it first, and pushes another one out.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        read, write = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args, args, strict=True)
        )
        line: Any = ir.VectorType(ir.IntType(8), LINE)
        begin = [builder.bitcast(array.data, ir.IntType(8).as_pointer()) for array in (read, write)]
        size = builder.mul(_utils.unpack_tuple(builder, write.shape)[0], write.itemsize)
        past_caches = builder.module.add_metadata([ir.IntType(32)(1)])
        with _utils.for_range_slice(builder, size.type(0), size, size.type(LINE)) as (at, _):
            place, room = (builder.bitcast(builder.gep(p, [at]), line.as_pointer()) for p in begin)
            stored = builder.store(builder.load(place, align=1), room, align=LINE)
            stored.set_metadata("nontemporal", past_caches)
        return context.get_dummy_value()

    return types.void(source, target), generate


def _finish(typingctx: Any) -> Any:
    """Wait until other threads see what was copied."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


stream: Any = intrinsic(_stream)
finish: Any = intrinsic(_finish)
