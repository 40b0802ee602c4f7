"""Sum rows of a table, some columns at a time, so that the sums stay in registers."""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from encoder.arrays.aligned import LINE

__all__ = ["add_rows"]

_PASSES = (1024, 512, 256, 64)
"""Bytes of sums per pass over the rows; the first size is half of AVX-512's registers.

Fewer passes read a row in fewer parts, and processors prefetch what follows a part.
"""
_AHEAD = 8
"""How many rows ahead to prefetch: random rows of a large table come from the third-level cache."""

_INT16, _INT32, _FLOAT = ir.IntType(16), ir.IntType(32), ir.FloatType()
_LANES = 16
"""How many sums of 32 bits a register of AVX-512 holds."""
_BLOCK = 64
"""How many columns of a row it holds."""
_DOT = "llvm.x86.avx512.vpdpbusd.512"
"""Adds four products of bytes to each sum of 32 bits, in one instruction of AVX-512 VNNI."""

_INDEX: Any = ir.IntType(32)
_utils: Any = cgutils  # it has no types
_ALWAYS = (ir.IntType(32)(0), ir.IntType(32)(3), ir.IntType(32)(1))  # for reading, into all caches, data


def _add_rows(typingctx: Any, ids: Any, first: Any, last: Any, table: Any, weights: Any, sums: Any) -> Any:
    """Sum rows and return for how many columns, without a check of bounds.

    The rows are `ids[first:last]` (int32) of `table`, `(n, dim)` int8 or float32, C-contiguous. Their sums go
    to the first columns of `sums`, `(dims,)` float32; the caller does the remaining columns, fewer than 64
    bytes of sums. Ids after `last` are only prefetched, and may be anything.

    `weights`, `(n,)` uint8 or None, multiply int8 rows. Registers hold integer sums of these, in 32 bits with
    weights and in 16 without: at most 256 rows fit.
    """
    weighted = isinstance(weights, types.Array)
    kind = _FLOAT if table.dtype == types.float32 else _INT32 if weighted else _INT16

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays: list[Any] = [
            context.make_array(kind)(context, builder, value) if isinstance(kind, types.Array) else None
            for kind, value in zip(signature.args, args, strict=True)
        ]
        ids, _, _, table, weights, sums = arrays
        dot = weighted and "+avx512vnni" in context.codegen().magic_tuple()[2]
        dims = _utils.unpack_tuple(builder, sums.shape)[0]
        column = dims.type(0)
        for size in _PASSES:
            count = size // (2 if kind == _INT16 else 4)
            add = _add_products if dot and count % _BLOCK == 0 else _add
            passes = builder.udiv(builder.sub(dims, column), dims.type(count))
            with _utils.for_range(builder, passes) as loop:
                begin = builder.add(column, builder.mul(loop.index, dims.type(count)))
                add(_Rows(builder, ids, table, weights, begin, count), kind, args[1], args[2], sums)
            column = builder.add(column, builder.mul(passes, dims.type(count)))
        return column

    return types.int64(ids, types.int64, types.int64, table, weights, sums), generate


add_rows: Any = intrinsic(_add_rows)


class _Rows:
    """Generates code that reads `count` columns of rows, from a column on."""

    def __init__(self, builder: Any, ids: Any, table: Any, weights: Any, column: Any, count: int) -> None:
        self.builder, self.column, self.count = builder, column, count
        self._ids, self._table, self._weights = ids, table, weights
        self._dim = _utils.unpack_tuple(builder, table.shape)[1]
        self._n_ids = _utils.unpack_tuple(builder, ids.shape)[0]
        self._values: Any = ir.VectorType(table.data.type.pointee, count)

    def _row(self, place: Any) -> Any:
        return self.builder.zext(self.builder.load(self.builder.gep(self._ids.data, [place])), self._dim.type)

    def _piece(self, place: Any) -> Any:
        begin = self.builder.add(self.builder.mul(self._row(place), self._dim), self.column)
        return self.builder.gep(self._table.data, [begin])

    def values(self, place: Any) -> Any:
        """The columns of the row of the id at a place."""
        piece = self.builder.bitcast(self._piece(place), self._values.as_pointer())
        return self.builder.load(piece, align=1)

    def weight(self, place: Any, kind: Any) -> Any:
        """The weight of the row, or None if there are no weights."""
        if self._weights is None:
            return None
        return self.builder.zext(
            self.builder.load(self.builder.gep(self._weights.data, [self._row(place)])), kind
        )

    def fetch(self, place: Any) -> None:
        """Prefetch the columns of the row that is `_AHEAD` places later, if there is one."""
        byte: Any = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, *(constant.type for constant in _ALWAYS)])
        prefetch = _utils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        later = self.builder.add(place, place.type(_AHEAD))
        there = self.builder.icmp_signed("<", later, self._n_ids)
        begin = self.builder.bitcast(self._piece(self.builder.select(there, later, place)), byte)
        for line in range(0, self.count * (1 if self._values.element == ir.IntType(8) else 4), LINE):
            self.builder.call(prefetch, [self.builder.gep(begin, [ir.IntType(64)(line)]), *_ALWAYS])


def _add(rows: _Rows, kind: Any, first: Any, last: Any, out: Any) -> None:
    """Generate code that adds row by row."""
    builder, added = rows.builder, ir.VectorType(kind, rows.count)
    total = _zeros(builder, added)
    with _utils.for_range_slice(builder, first, last, first.type(1)) as (place, _):
        rows.fetch(place)
        values, weight = rows.values(place), rows.weight(place, _INT16)
        if weight is not None:  # a product fits into 16 bits
            words = ir.VectorType(_INT16, rows.count)
            values = builder.mul(builder.sext(values, words), _every(builder, weight, words))
        if kind == _FLOAT:
            value = builder.fadd(builder.load(total), values)
        else:
            value = builder.add(builder.load(total), builder.sext(values, added))
        builder.store(value, total)
    _store(builder, [builder.load(total)], out, rows.column)


def _add_products(rows: _Rows, kind: Any, first: Any, last: Any, out: Any) -> None:
    """Generate code that adds two rows at a time, times their weights.

    A lane holds columns k and k + 1 of both rows: `a[k], b[k], a[k + 1], b[k + 1]`. The instruction
    multiplies them with `(w_a, w_b, 0, 0)` for column k, and with `(0, 0, w_a, w_b)` for the other one. Bytes
    stay in their quarter of a register, which is faster (`vpunpcklbw`); the sums are put in order at the end.
    """
    builder, part = rows.builder, ir.VectorType(kind, _LANES)
    dot = _utils.get_or_insert_function(builder.module, ir.FunctionType(part, [part] * 3), _DOT)
    totals = [_zeros(builder, part) for _ in range(rows.count // _LANES)]
    with _utils.for_range_slice(builder, first, last, first.type(2)) as (place, _):
        second = builder.add(place, place.type(1))
        there = builder.icmp_signed("<", second, last)  # if not, the first row stands in, with weight 0
        second = builder.select(there, second, place)
        rows.fetch(place)
        rows.fetch(second)
        shifted = builder.shl(rows.weight(second, kind), kind(8))
        weights = builder.or_(rows.weight(place, kind), builder.select(there, shifted, kind(0)))
        low = _every(builder, weights, part)
        high = builder.shl(low, ir.Constant(part, [16] * _LANES))
        pair = rows.values(place), rows.values(second)
        for k in range(0, len(totals), 2):
            begin = _BLOCK * (k // 4) + 8 * (k // 2 % 2)
            columns = [begin + byte // 16 * 16 + byte % 16 // 2 for byte in range(_BLOCK)]
            places = [column + rows.count * (byte % 2) for byte, column in enumerate(columns)]
            mixed = builder.bitcast(_shuffled(builder, pair[0], pair[1], places), part)
            for total, factors in ((totals[k], low), (totals[k + 1], high)):
                builder.store(builder.call(dot, [builder.load(total), factors, mixed]), total)
    sums = [builder.load(total) for total in totals]
    ordered = [total for k in range(0, len(sums), 4) for total in _in_order(builder, sums[k : k + 4])]
    _store(builder, ordered, out, rows.column)


def _in_order(builder: Any, totals: list[Any]) -> list[Any]:
    """The sums of 64 columns; quarter q of total t has every second one from `16 q + 8 (t // 2) + t % 2`."""
    pairs = [
        [4 * q + half + i // 2 + _LANES * (i % 2) for q in range(4) for i in range(4)] for half in (0, 2)
    ]
    fours = [_shuffled(builder, totals[t], totals[t + 1], pair) for t in (0, 2) for pair in pairs]
    halves = [
        _quarters(builder, fours[t], fours[t + 1], (h, h + 1, h + 4, h + 5)) for h in (0, 2) for t in (0, 2)
    ]
    return [
        _quarters(builder, halves[k], halves[k + 1], (q, q + 2, q + 4, q + 6)) for k in (0, 2) for q in (0, 1)
    ]


def _quarters(builder: Any, one: Any, other: Any, quarters: Sequence[int]) -> Any:
    return _shuffled(builder, one, other, [4 * quarter + i for quarter in quarters for i in range(4)])


def _shuffled(builder: Any, one: Any, other: Any, places: Sequence[int]) -> Any:
    """The values of two vectors at places, which count through both."""
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(_INDEX, len(places)), list(places)))


def _zeros(builder: Any, kind: Any) -> Any:
    total = _utils.alloca_once(builder, kind)
    builder.store(ir.Constant(kind, None), total)  # for each pass
    return total


def _every(builder: Any, value: Any, kind: Any) -> Any:
    nothing = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(nothing, value, _INDEX(0))
    return builder.shuffle_vector(
        one, nothing, ir.Constant(ir.VectorType(_INDEX, kind.count), [0] * kind.count)
    )


def _store(builder: Any, sums: Any, out: Any, column: Any) -> None:
    """Generate code that writes vectors of sums to `out` from a column on, as floats."""
    for total in sums:
        floats: Any = ir.VectorType(_FLOAT, total.type.count)
        value = total if total.type == floats else builder.sitofp(total, floats)
        target = builder.bitcast(builder.gep(out.data, [column]), floats.as_pointer())
        builder.store(value, target, align=4)
        column = builder.add(column, column.type(floats.count))
