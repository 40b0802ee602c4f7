"""Conversion of vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numba import njit

from encoder.kernels.conversion import store


@njit
def _store_all(rows, factor, out):
    for r in range(len(rows)):
        store(rows[r], factor, out[r])


def _stored(rows, kind, columns=None, factor=1):
    rows = np.ascontiguousarray(rows, np.float32)
    out = np.full((len(rows), columns or rows.shape[1]), 99, kind)
    _store_all(rows, np.float32(factor), out)
    return out


def to_float16(values):
    return _stored(values, np.uint16).view(np.float16)


def to_int8(values):
    return _stored(values, np.int8)


def _astype(values):
    with np.errstate(over="ignore"):
        return values.astype(np.float16)


def _same_bits(values):
    np.testing.assert_array_equal(to_float16(values).view(np.uint16), _astype(values).view(np.uint16))


@given(
    values=hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 5), st.integers(1, 40)),
        elements=st.floats(width=32, allow_nan=False),
    )
)
def test_float16_equals_astype(values):
    _same_bits(values)


def test_float16_equals_astype_on_random_bits():
    bits = np.random.default_rng(0).integers(0, 1 << 32, 2_000_000, np.uint32)
    values = bits.view(np.float32)
    _same_bits(values[~np.isnan(values)].reshape(1, -1))


@pytest.mark.parametrize("step", [-1, 0, 1])
def test_float16_equals_astype_around_every_tie_and_every_value(step):
    """Each float16, subnormals included, the points half-way between, and one float32 step to each side."""
    values = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    points = np.concatenate(
        [values, (values[:-1] + values[1:]) / 2, [65_519.0, 65_520.0, 65_536.0, 1e30, np.inf]]
    )
    bits = points.astype(np.float32).view(np.uint32).astype(np.int64) + step
    near = np.clip(bits, 0, 0x7F800000).astype(np.uint32).view(np.float32)
    _same_bits(np.stack([near, -near]))


def test_float16_of_float32_subnormals_is_zero_with_its_sign():
    values = np.array([[1e-45, -1e-45, 0.0, -0.0, 1e-38, -1e-38]], np.float32)
    _same_bits(values)


@given(
    values=hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 5), st.integers(1, 40)),
        elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
    )
)
def test_int8_scales_the_largest_magnitude_to_127(values):
    found = to_int8(values)
    assert found.dtype == np.int8
    assert found.shape == values.shape
    largest = np.abs(values).max(axis=1, initial=0).astype(np.float64)
    for row, ours, top in zip(values.astype(np.float64), found, largest, strict=True):
        if top < 1e-30:
            continue
        assert np.abs(ours).max() == 127
        assert np.abs(row * 127 / top - ours).max() <= 0.5 + 1e-4


def test_int8_keeps_zeros_and_cosines():
    values = np.random.default_rng(0).normal(size=(50, 256)).astype(np.float32)
    values[7] = 0
    found = to_int8(values).astype(np.float64)
    assert not found[7].any()
    keep = np.arange(50) != 7
    lengths = np.linalg.norm(values[keep], axis=1) * np.linalg.norm(found[keep], axis=1)
    assert ((values[keep] * found[keep]).sum(axis=1) / lengths).min() > 0.9999


@given(
    values=hnp.arrays(
        np.float32, st.tuples(st.integers(0, 5), st.integers(1, 40)), elements=st.floats(-1, 1, width=32)
    )
)
def test_bits_are_those_of_packbits(values):
    columns = -(-values.shape[1] // 8)
    np.testing.assert_array_equal(_stored(values, np.uint8, columns), np.packbits(values > 0, axis=1))


def test_the_factor_scales():
    np.testing.assert_array_equal(_stored([[1, -3]], np.float32, factor=0.5), [[0.5, -1.5]])
    np.testing.assert_array_equal(_stored([[1, -3]], np.uint16, factor=0.5).view(np.float16), [[0.5, -1.5]])
