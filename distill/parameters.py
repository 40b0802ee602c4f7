"""The parameters of a distillation, validated before anything is loaded."""

import math
import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from encoder.arrays.dtypes import Dtype
from encoder.errors import ConfigurationError
from encoder.masks import Masks

__all__ = ["DROP_PATTERN", "Parameters", "Pooling", "Precision"]

DROP_PATTERN = r"\[unused\d+\]"
"""The vocabulary entries to drop by default: BERT's placeholders."""

Pooling = Literal["mean", "first", "last", "pooler"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The parameters of the table; `distill.distill` describes them.

    Raises:
        ConfigurationError: a value is out of range.
    """

    dims: int | float | None = 256
    sif: float | None = 1e-4
    drop_pattern: str | None = DROP_PATTERN
    pooling: Pooling = "mean"
    dtype: Dtype = "float16"
    clusters: int | None = None
    precision: Precision = "auto"
    blend: float | None = None
    masks: Masks = field(default_factory=Masks)

    def __post_init__(self) -> None:
        _check_dims(self.dims)
        if self.sif is not None and not 0 < self.sif < 1:
            raise ConfigurationError(
                f"`sif` is {self.sif}: it must be between 0 and 1, such as 1e-4, or none"
            )
        if self.clusters is not None and self.clusters < 1:
            raise ConfigurationError(f"`clusters` is {self.clusters}: it must be 1 or more")
        if self.blend is not None and not 0 <= self.blend < math.inf:
            raise ConfigurationError(f"`blend` is {self.blend}: it must be 0 (no blend) or more, such as 0.5")
        try:
            re.compile(self.drop_pattern or "")
        except re.error as error:
            raise ConfigurationError(
                f"`drop_pattern` is {self.drop_pattern!r}, which is not a regular expression: {error}"
            ) from error
        for name, kind in (("pooling", Pooling), ("dtype", Dtype), ("precision", Precision)):
            if getattr(self, name) not in get_args(kind):
                raise ConfigurationError(
                    f"`{name}` is {getattr(self, name)!r}: it must be one of {', '.join(get_args(kind))}"
                )


def _check_dims(dims: float | None) -> None:
    whole = isinstance(dims, int) and dims >= 1
    share = isinstance(dims, float) and 0 < dims < 1
    if dims is not None and not whole and not share:
        raise ConfigurationError(
            f"`dims` is {dims}: it must be a number of dimensions, such as 256, a share of the variance, "
            "such as 0.95, or none"
        )
