from datetime import UTC, datetime

import numpy as np
import pytest

from encoder.errors import ConfigurationError, InputError
from encoder.json_values import check_json


@pytest.mark.parametrize("value", [None, {"a": [1, 0.5, "é", True, None]}, (1, 2), datetime.now(UTC)])
def test_what_is_json_passes(value):
    check_json(value, "`x`", InputError)


@pytest.mark.parametrize(
    "value", [float("nan"), {"a": [float("inf")]}, object(), np.float32(1), {1: {2, object()}}]
)
def test_what_is_not_is_named(value):
    with pytest.raises(ConfigurationError, match=r"^`x` must be JSON: "):
        check_json(value, "`x`", ConfigurationError)
