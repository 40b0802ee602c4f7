"""Parameters out of their range are refused before anything is loaded."""

import pytest

import distill.distillation
from distill import distill as run
from distill.parameters import Parameters
from encoder.errors import ConfigurationError

WRONG = [
    ({"dims": 0}, "`dims` is 0"),
    ({"dims": -3}, "`dims` is -3"),
    ({"dims": 1.0}, "`dims` is 1.0"),
    ({"dims": 256.0}, "`dims` is 256.0"),
    ({"dims": 0.0}, "`dims` is 0.0"),
    ({"dims": float("nan")}, "`dims` is nan"),
    ({"sif": 0.0}, "`sif` is 0.0"),
    ({"sif": 1.0}, "`sif` is 1.0"),
    ({"sif": float("nan")}, "`sif` is nan"),
    ({"clusters": 0}, "`clusters` is 0"),
    ({"drop_pattern": "["}, r"`drop_pattern` is '\[', which is not a regular expression"),
    ({"pooling": "max"}, "`pooling` is 'max': it must be one of mean, first, last, pooler"),
    ({"dtype": "int4"}, "`dtype` is 'int4'"),
    ({"precision": "float8"}, "`precision` is 'float8'"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG, ids=str)
def test_wrong_values_are_refused_before_the_teacher_is_loaded(wrong, message, monkeypatch):
    monkeypatch.setattr(distill.distillation, "load_teacher", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(ConfigurationError, match=message) as caught:
        run("any/teacher", **wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "right", [{}, {"dims": 1}, {"dims": 0.5}, {"dims": None, "sif": None, "drop_pattern": None}]
)
def test_what_is_in_range_passes(right):
    assert Parameters(**right).pooling == "mean"
