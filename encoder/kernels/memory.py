"""Machine instructions that Numba's arrays and numbers do not offer."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.cpython.unsafe import numbers
from numba.extending import intrinsic

__all__ = ["leading_zeros", "load8", "trailing_zeros"]


def _load8(typingctx: Any, array: Any, index: Any) -> Any:
    """Load 8 bytes of a uint8 array at any index as one uint64, the first lowest; bounds are not checked."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        address = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(64).as_pointer())
        return builder.load(address, align=1)

    return types.uint64(array, types.int64), generate


# Typed as Any: what a kernel calls is not what stands here.
load8: Any = intrinsic(_load8)
leading_zeros: Any = numbers.leading_zeros
trailing_zeros: Any = numbers.trailing_zeros
