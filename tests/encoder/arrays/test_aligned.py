"""Arrays that start at a cache line."""

import numpy as np
import pytest

from encoder.arrays import aligned


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (2, 0), (1000, 64)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, "uint64"])
@pytest.mark.parametrize("make", [aligned.empty, aligned.zeros])
def test_an_array_begins_with_a_cache_line(make, shape, dtype):
    for _ in range(5):
        array = make(shape, dtype)
        assert make is aligned.empty or not array.any()
        assert not array.size or array.ctypes.data % aligned.LINE == 0
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert array.flags.c_contiguous
        assert array.flags.writeable
        array[...] = 1
