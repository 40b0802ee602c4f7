"""The static encoder: load a model by reference and turn texts into vectors.

>>> from encoder import Encoder
>>> enc = Encoder.load("s3://bucket/models/minilm@7")  # doctest: +SKIP
>>> enc.encode(["card declined at the gate", None]).shape  # doctest: +SKIP
(2, 256)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encoder.encoder import Encoder

__all__ = ["Encoder"]


def __getattr__(name: str) -> Any:
    # Numba takes half a second to import: the command line's help and errors do without.
    if name == "Encoder":
        from encoder.encoder import Encoder

        return Encoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
