"""Machine instructions that Numba does not offer, written as LLVM code."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.cpython.unsafe import numbers
from numba.extending import intrinsic

from encoder.arrays.aligned import LINE

__all__ = [
    "WINDOW",
    "classes",
    "count_ones",
    "finish",
    "leading_zeros",
    "load8",
    "stream",
    "trailing_zeros",
    "within",
]

WINDOW = 64
"""Bytes that `classes` and `within` look at."""

_BYTE, _MASK = ir.IntType(8), ir.IntType(WINDOW)
_BYTES = ir.VectorType(_BYTE, WINDOW)
_utils: Any = cgutils  # it has no types


def _load8(typingctx: Any, array: Any, index: Any) -> Any:
    """Load 8 bytes of a uint8 array as one little-endian uint64, without a check of bounds."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        address = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(64).as_pointer())
        return builder.load(address, align=1)

    return types.uint64(array, types.int64), generate


def _all(byte: int) -> ir.Constant:
    return ir.Constant(_BYTES, [byte] * WINDOW)


def _classes(typingctx: Any, array: Any, index: Any) -> Any:
    """Classify 64 bytes of a uint8 array from an index on, without a check of bounds.

    Returns:
        Three uint64 masks, whose lowest bit is the first byte: words (ASCII letters, digits and odd bytes);
        ASCII white space (space, tab, line feed, carriage return); odd bytes (128 and above, and the other
        control characters). A byte in none of them is ASCII punctuation.
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


def _within(typingctx: Any, array: Any, index: Any, first: Any, count: Any) -> Any:
    """Which of 64 bytes of a uint8 array from an index on are among `count` values from `first` on.

    A uint64 mask, whose lowest bit is the first byte; without a check of bounds.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        address = builder.bitcast(builder.gep(data, [args[1]]), _BYTES.as_pointer())
        text = builder.load(address, align=1)
        found = builder.sub(text, _all(first.literal_value))
        return builder.bitcast(builder.icmp_unsigned("<", found, _all(count.literal_value)), _MASK)

    return types.uint64(array, types.int64, first, count), generate


def _count_ones(typingctx: Any, mask: Any) -> Any:
    """How many bits of a uint64 are set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), generate


def _stream(typingctx: Any, source: Any, target: Any) -> Any:
    """Copy a one-dimensional array past the caches to one of the same type and length.

    `target` consists of whole cache lines. A normal store would first read each line and evict another.
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
    """Wait until other threads see what `stream` has copied."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


# Typed as Any: a kernel calls something else than what is written here.
load8: Any = intrinsic(_load8)
classes: Any = intrinsic(_classes)
within: Any = intrinsic(prefer_literal=True)(_within)
count_ones: Any = intrinsic(_count_ones)
stream: Any = intrinsic(_stream)
finish: Any = intrinsic(_finish)
leading_zeros: Any = numbers.leading_zeros
trailing_zeros: Any = numbers.trailing_zeros
