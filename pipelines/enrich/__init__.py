"""The encoder meets records: columns of vectors and scores, and the model version that makes them."""

from typing import Literal

__all__ = ["Layout", "Tombstones"]

Layout = Literal["list", "binary"]
"""How a column holds vectors: lists that every tool reads, or fixed-size bytes, which are faster to write."""

Tombstones = Literal["pass", "drop", "dead-letter"]
"""What becomes of deletes: messages with a key and a null value."""
