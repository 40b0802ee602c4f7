"""Scalar products of vectors with rows, written as LLVM code: of their int8 codes, and exact ones.

`products_of_codes` compares 4 vectors with a panel of 64 rows. Its sums stay in registers, and it returns
only which of them reach a limit. `sum_of_products` gives the same bits on every processor.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "PANEL", "products_of_codes", "sum_of_products"]

PANEL = 64
"""How many rows are compared at once."""

LANES = 16
"""How many numbers are added up beside each other."""

_BLOCKS = PANEL // LANES
_VECTORS = 4  # with four blocks, sixteen sums and their operands fit into the registers of AVX-512
_BYTE, _INT, _INDEX = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_INTS, _FLOATS = ir.VectorType(_INT, LANES), ir.VectorType(ir.FloatType(), LANES)
_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
_VNNI = ("icelake", "sapphirerapids", "emeraldrapids", "graniterapids", "znver4", "znver5")
_utils: Any = cgutils  # it has no types


def _load(builder: Any, pointer: Any, kind: Any, offset: Any) -> Any:
    """A value of a type that begins so many bytes behind a pointer."""
    address = builder.gep(builder.bitcast(pointer, _BYTE.as_pointer()), [offset])
    return builder.load(builder.bitcast(address, kind.as_pointer()), align=1)


def _products_of_codes(
    typingctx: Any, codes: Any, panel: Any, queries: Any, four: Any, terms: Any, scales: Any, errors: Any
) -> Any:
    """Which rows of a panel may have a large enough scalar product with four vectors.

    A row may if `(start + codes of the row . codes of the vector) * scale + factor * error >= limit`.

    Args:
        typingctx: Numba's.
        codes: `(n_panels, n_steps, 64, 4)` uint8, codes of rows, four numbers of each after the other.
        panel: int64, which of them.
        queries: `(n, 4 * n_steps)` int8, codes of vectors.
        four: four int64, which of them.
        terms: three arrays `(n,)`: int32 start, float32 factor, float32 limit.
        scales: `(n_panels * 64,)` float32, of the rows.
        errors: `(n_panels * 64,)` float32, of the rows.

    Returns:
        Four uint64; the lowest bit is the panel's first row.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def array(kind: Any, value: Any) -> Any:
            return context.make_array(kind)(context, builder, value)

        def spread(value: Any, kind: Any) -> Any:
            one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, _INT(0))
            return builder.shuffle_vector(one, one, ir.Constant(_INTS, [0] * LANES))

        rows, vectors = array(signature.args[0], args[0]), array(signature.args[2], args[2])
        steps = _utils.unpack_tuple(builder, rows.shape)[1]
        whole = builder.mul(args[1], builder.mul(steps, _INDEX(4 * PANEL)))
        which = _utils.unpack_tuple(builder, args[3])
        starts, factors, limits = (
            array(kind, value).data
            for kind, value in zip(signature.args[4], _utils.unpack_tuple(builder, args[4]), strict=True)
        )
        places = [builder.mul(one, _INDEX(4)) for one in which]
        lengths = [builder.mul(place, steps) for place in places]
        sums = [
            [
                _utils.alloca_once_value(builder, spread(_load(builder, starts, _INT, place), _INTS))
                for _ in range(_BLOCKS)
            ]
            for place in places
        ]
        with _utils.for_range(builder, steps) as loop:
            at = builder.add(whole, builder.mul(loop.index, _INDEX(4 * PANEL)))
            blocks = [
                _load(builder, rows.data, _INTS, builder.add(at, _INDEX(4 * LANES * b)))
                for b in range(_BLOCKS)
            ]
            for length, found in zip(lengths, sums, strict=True):
                offset = builder.add(length, builder.mul(loop.index, _INDEX(4)))
                numbers = spread(_load(builder, vectors.data, _INT, offset), _INTS)
                for total, block in zip(found, blocks, strict=True):
                    builder.store(_add_products(context, builder, builder.load(total), block, numbers), total)
        masks = []
        first = builder.mul(args[1], _INDEX(4 * PANEL))
        for place, found in zip(places, sums, strict=True):
            factor, limit = (
                spread(_load(builder, data, ir.FloatType(), place), _FLOATS) for data in (factors, limits)
            )
            mask: Any = _INDEX(0)
            for b, total in enumerate(found):
                at = builder.add(first, _INDEX(4 * LANES * b))
                scale, error = (
                    _load(builder, array(signature.args[k], args[k]).data, _FLOATS, at) for k in (5, 6)
                )
                product = builder.fmul(builder.sitofp(builder.load(total), _FLOATS), scale)
                most = builder.fadd(product, builder.fmul(error, factor))
                bits = builder.bitcast(builder.fcmp_ordered(">=", most, limit), ir.IntType(LANES))
                mask = builder.or_(mask, builder.shl(builder.zext(bits, _INDEX), _INDEX(LANES * b)))
            masks.append(mask)
        return context.make_tuple(builder, signature.return_type, masks)

    masks: Any = types.UniTuple
    return masks(types.uint64, _VECTORS)(codes, types.int64, queries, four, terms, scales, errors), generate


def _add_products(context: Any, builder: Any, total: Any, unsigned: Any, signed: Any) -> Any:
    """Add to 16 sums the products of four uint8 and four int8 numbers each."""
    _, processor, features = context.codegen().magic_tuple()
    if "+avx512vnni" in features or (not features and processor.startswith(_VNNI)):
        kind = ir.FunctionType(_INTS, [_INTS] * 3)
        call = _utils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
        return builder.call(call, [total, unsigned, signed])
    count = 4 * LANES
    small, wide = ir.VectorType(_BYTE, count), ir.VectorType(_INT, count)
    found = builder.mul(
        builder.zext(builder.bitcast(unsigned, small), wide),
        builder.sext(builder.bitcast(signed, small), wide),
    )
    while count > LANES:  # neighbours are added: two halvings leave 16
        count //= 2
        halves = [
            builder.shuffle_vector(
                found, found, ir.Constant(ir.VectorType(_INT, count), list(range(k, 2 * count, 2)))
            )
            for k in (0, 1)
        ]
        found = builder.add(*halves)
    return builder.add(total, found)


def _sum_of_products(typingctx: Any, vectors: Any, vector: Any, rows: Any, row: Any) -> Any:
    """The scalar product of a float32 vector with a float16 row, without the last `dim % 16` numbers.

    Products of such numbers are exact in float64, and the order of additions is that of this code.

    Args:
        typingctx: Numba's.
        vectors: `(n, dim)` float32.
        vector: int64, which of them.
        rows: `(n_rows, dim)` uint16, the bits of finite float16.
        row: int64, which of them.

    Returns:
        float64.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = [context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 2)]
        dim = _utils.unpack_tuple(builder, arrays[0].shape)[1]
        total = _utils.alloca_once_value(builder, ir.Constant(_DOUBLES, [0.0] * LANES))
        halves = ir.VectorType(ir.IntType(16), LANES)

        def number(value: int) -> Any:
            return ir.Constant(_INTS, [value] * LANES)

        with _utils.for_range(builder, builder.sdiv(dim, _INDEX(LANES))) as loop:
            at = builder.mul(loop.index, _INDEX(LANES))
            first, second = (builder.add(builder.mul(args[k], dim), at) for k in (1, 3))
            single = _load(builder, arrays[0].data, _FLOATS, builder.mul(first, _INDEX(4)))
            half = _load(builder, arrays[1].data, halves, builder.mul(second, _INDEX(2)))
            bits = builder.zext(half, _INTS)
            sign = builder.shl(builder.and_(bits, number(0x8000)), number(16))
            rest = builder.shl(builder.and_(bits, number(0x7FFF)), number(13))
            scaled = builder.bitcast(builder.or_(sign, rest), _FLOATS)
            wide = builder.fmul(builder.fpext(scaled, _DOUBLES), ir.Constant(_DOUBLES, [2.0**112] * LANES))
            product = builder.fmul(builder.fpext(single, _DOUBLES), wide)
            builder.store(builder.fadd(builder.load(total), product), total)
        found, count = builder.load(total), LANES
        while count > 1:
            count //= 2
            parts = [
                builder.shuffle_vector(
                    found, found, ir.Constant(ir.VectorType(_INT, count), list(range(k, k + count)))
                )
                for k in (0, count)
            ]
            found = builder.fadd(*parts)
        return builder.extract_element(found, _INT(0))

    return types.float64(vectors, types.int64, rows, types.int64), generate


# Typed as Any: a kernel calls something else than what is written here.
products_of_codes: Any = intrinsic(_products_of_codes)
sum_of_products: Any = intrinsic(_sum_of_products)
