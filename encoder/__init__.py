"""The static encoder: load a model by reference and turn texts into vectors.

>>> from encoder import Encoder
>>> enc = Encoder.load("s3://bucket/models/minilm@7")  # doctest: +SKIP
>>> enc.encode(["card declined at the gate", None]).shape  # doctest: +SKIP
(2, 256)
"""

from encoder.encoder import Encoder

__all__ = ["Encoder"]
