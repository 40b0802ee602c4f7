import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipelines.vectors import VectorFormat

DTYPES = ["float32", "float16", "int8"]
vectors = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
    elements=st.floats(-100, 100, width=32),
)


def values(column, dtype, dim):
    if pa.types.is_fixed_size_binary(column.type):
        return np.frombuffer(b"".join(column.to_pylist()), dtype).reshape(-1, dim)
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)


@pytest.mark.parametrize("dtype", DTYPES)
@given(given_vectors=vectors)
def test_both_layouts_hold_the_same_elements_and_no_nulls(dtype, given_vectors):
    dim = given_vectors.shape[1]
    columns = [VectorFormat(layout, dtype).column(given_vectors) for layout in ("list", "binary")]
    for column in columns:
        column.validate(full=True)
        assert column.null_count == 0
        assert len(column) == len(given_vectors)
    first, second = (values(column, dtype, dim) for column in columns)
    assert first.dtype == second.dtype == dtype
    assert np.array_equal(first, second)
    if dtype != "int8":
        assert np.array_equal(first, given_vectors.astype(dtype))
    else:
        largest = np.abs(given_vectors).max(axis=1, keepdims=True)
        assert np.allclose(first * (largest / 127), given_vectors, atol=0.51 * largest.max() / 127 + 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["list", "binary"])
def test_the_column_has_the_type_of_the_field(layout, dtype):
    form = VectorFormat(layout, dtype)
    field = form.field(3)
    assert (field.name, field.nullable) == ("embedding", False)
    for n in (0, 2):
        column = form.column(np.ones((n, 3), np.float32))
        assert column.type == field.type == form.arrow_type(3)
        assert len(column) == n
    if layout == "binary":
        assert field.type == pa.binary(3 * np.dtype(dtype).itemsize)
    else:
        assert field.type.list_size == 3
        assert not field.type.value_field.nullable


def test_a_zero_vector_stays_zero():
    for dtype in DTYPES:
        [vector] = VectorFormat("list", dtype).column(np.zeros((1, 4), np.float32)).to_pylist()
        assert vector == [0, 0, 0, 0]


def test_float32_is_not_copied():
    given_vectors = np.ones((5, 4), np.float32)
    column = VectorFormat().column(given_vectors)
    assert column.flatten().buffers()[1].address == given_vectors.ctypes.data


def test_vectors_that_do_not_lie_together_are_written_right():
    wide = np.arange(24, dtype=np.float32).reshape(4, 6)
    assert VectorFormat().column(wide[::2, ::2]).to_pylist() == [[0, 2, 4], [12, 14, 16]]
