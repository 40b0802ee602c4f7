"""64 bytes of text at a time: which are letters and digits, white space, or neither."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["WINDOW", "classes"]

WINDOW = 64
"""Bytes that `classes` looks at."""

_BYTE, _MASK = ir.IntType(8), ir.IntType(WINDOW)
_BYTES = ir.VectorType(_BYTE, WINDOW)


def _all(byte: int) -> ir.Constant:
    return ir.Constant(_BYTES, [byte] * WINDOW)


def _classes(typingctx: Any, array: Any, index: Any) -> Any:
    """Classes of the 64 bytes from any index of a uint8 array on; bounds are not checked.

    Returns:
        Three uint64, the first byte's bit the lowest: ASCII letters and digits, and what is odd; ASCII white
        space (space, tab, line feed, carriage return); what is odd: bytes of 128 and above, and the other
        control characters. What is in none of them is ASCII punctuation.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_data = context.make_array(signature.args[0])(context, builder, args[0]).data
        address = builder.bitcast(builder.gep(array_data, [args[1]]), _BYTES.as_pointer())
        text = builder.load(address, align=1)

        def within(values: Any, first: int, count: int) -> Any:
            return builder.icmp_unsigned("<", builder.sub(values, _all(first)), _all(count))

        def is_byte(byte: int) -> Any:
            return builder.icmp_unsigned("==", text, _all(byte))

        letter = within(builder.or_(text, _all(0x20)), ord("a"), 26)
        digit = within(text, ord("0"), 10)
        space = builder.or_(is_byte(ord(" ")), builder.or_(within(text, ord("\t"), 2), is_byte(ord("\r"))))
        control = builder.or_(within(text, 0, 0x20), is_byte(0x7F))
        odd = builder.or_(within(text, 0x80, 0x80), builder.and_(control, builder.not_(space)))
        word = builder.or_(builder.or_(letter, digit), odd)
        masks = [builder.bitcast(bits, _MASK) for bits in (word, space, odd)]
        return context.make_tuple(builder, signature.return_type, masks)

    masks: Any = types.UniTuple
    return masks(types.uint64, 3)(array, types.int64), generate


classes: Any = intrinsic(_classes)  # typed as Any: what a kernel calls is not what stands here
