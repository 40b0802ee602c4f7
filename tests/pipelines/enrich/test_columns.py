import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from pipelines.enrich.columns import VectorFormat

DTYPES = ["float32", "float16", "int8"]


def values(column, dtype, dim):
    if pa.types.is_fixed_size_binary(column.type):
        return np.frombuffer(b"".join(column.to_pylist()), dtype).reshape(-1, dim)
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)


@pytest.mark.parametrize("dtype", DTYPES)
@given(given_vectors=arrays(np.int8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)))
def test_both_layouts_hold_the_same_elements_and_no_nulls(dtype, given_vectors):
    given_vectors = given_vectors.astype(dtype)
    columns = [VectorFormat(layout, dtype).column(given_vectors) for layout in ("list", "binary")]
    for column in columns:
        column.validate(full=True)
        assert column.null_count == 0
        np.testing.assert_array_equal(values(column, dtype, given_vectors.shape[1]), given_vectors)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["list", "binary"])
def test_the_column_has_the_type_of_the_field(layout, dtype):
    form = VectorFormat(layout, dtype)
    field = form.field(3)
    assert (field.name, field.nullable) == ("embedding", False)
    for n in (0, 2):
        column = form.column(np.ones((n, 3), dtype))
        assert column.type == field.type == form.arrow_type(3)
        assert len(column) == n
    if layout == "binary":
        assert field.type == pa.binary(3 * np.dtype(dtype).itemsize)
    else:
        assert field.type.list_size == 3
        assert not field.type.value_field.nullable


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["list", "binary"])
def test_vectors_are_not_copied(layout, dtype):
    given_vectors = np.ones((5, 4), dtype)
    column = VectorFormat(layout, dtype).column(given_vectors)
    data = column if layout == "binary" else column.flatten()
    assert data.buffers()[1].address == given_vectors.ctypes.data
