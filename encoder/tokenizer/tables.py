"""The compiled tokenizer: compiled when a model is written or published, then memory-mapped from a file.

`tokenizer_tables.safetensors` lies in the model folder; model2vec and sentence-transformers ignore it. It
holds the arrays of `encoder.tokenizer.vocabulary`, without the rows of zeros that fill most of a hash table.
Its metadata holds the format's number, the sha256 of the `tokenizer.json` and that of all the rest. If one of
them does not match, or a number would lead a kernel out of bounds, the tokenizer is compiled in memory.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save
from tokenizers import Tokenizer

from encoder import aligned
from encoder.errors import ModelFormatError
from encoder.mmap_arrays import map_tensors
from encoder.tokenizer.check import vocabulary_fits
from encoder.tokenizer.fallback import median_token_length
from encoder.tokenizer.vocabulary import compile_vocabulary, is_wordpiece

__all__ = ["FORMAT", "TABLES_FILE", "TokenizerTables", "compile_tokenizer", "pack_tables", "read_tables"]

TABLES_FILE = "tokenizer_tables.safetensors"
"""The file's name in a model folder."""

FORMAT = 1
"""The file's format; increase it whenever the meaning of an array changes."""

_ROWS = ".rows"
_MOST_ZEROS = 64  # rows of zeros per kept row; a file with more is not ours


@dataclass(frozen=True)
class TokenizerTables:
    """What the encoder needs to know of a tokenizer.

    Attributes:
        n_tokens: one more than the highest token id.
        median_token_length: the median length of the vocabulary's entries, in characters.
        arrays: the arrays of `compile_vocabulary` by name; empty unless it is WordPiece.
    """

    n_tokens: int
    median_token_length: int
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def compile_tokenizer(tokenizer_json: str) -> TokenizerTables:
    """Compile the tables of a tokenizer.

    Raises:
        ModelFormatError: `tokenizers` cannot parse the text.
    """
    try:
        tokenizer = Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelFormatError(f"cannot read the tokenizer: {error}") from error
    spec = json.loads(tokenizer_json)
    return TokenizerTables(
        n_tokens=max(tokenizer.get_vocab().values(), default=-1) + 1,
        median_token_length=median_token_length(tokenizer),
        arrays=compile_vocabulary(spec) if is_wordpiece(spec) else {},
    )


def pack_tables(tables: TokenizerTables, tokenizer_json: str) -> bytes:
    """The tables as the bytes of a safetensors file; equal tables give equal bytes."""
    tensors: dict[str, NDArray[Any]] = {}
    lengths: dict[str, int] = {}
    for name, array in tables.arrays.items():
        rows = np.flatnonzero(array.reshape(len(array), -1).any(axis=1))
        tensors[name] = np.ascontiguousarray(array)
        if 2 * len(rows) < len(array):
            tensors[name], tensors[name + _ROWS] = tensors[name][rows], rows.astype(np.int32)
            lengths[name] = len(array)
    facts = {
        "format": FORMAT,
        "tokenizer": _sha256(tokenizer_json.encode()),
        "n_tokens": tables.n_tokens,
        "median_token_length": tables.median_token_length,
        "lengths": lengths,
    }
    facts["sha256"] = _digest(tensors, facts)
    # One entry, because safetensors writes several in random order.
    return save(tensors, {"millstream": json.dumps(facts, sort_keys=True)})


def read_tables(path: Path, tokenizer_json: str) -> TokenizerTables | None:
    """Read the tables; None unless the file is intact, in this format and made of this `tokenizer.json`."""
    if not path.is_file():
        return None
    try:
        tensors, metadata = map_tensors(path)
        facts = json.loads(metadata["millstream"])
        key = (facts.pop("sha256"), facts["format"], facts["tokenizer"])
        if key != (_digest(tensors, facts), FORMAT, _sha256(tokenizer_json.encode())):
            return None
        arrays = {
            name: _with_zeros(array, tensors[name + _ROWS], facts["lengths"][name])
            if name in facts["lengths"]
            else array.view(np.ndarray)
            for name, array in tensors.items()
            if not name.endswith(_ROWS)
        }
        found = TokenizerTables(int(facts["n_tokens"]), int(facts["median_token_length"]), arrays)
        fits = found.median_token_length >= 0 and vocabulary_fits(arrays, found.n_tokens)
    except (
        OSError,
        SafetensorError,
        LookupError,
        AttributeError,
        TypeError,
        ValueError,
        OverflowError,
        MemoryError,
    ):
        return None
    return found if fits else None


def _with_zeros(kept: NDArray[Any], rows: NDArray[np.int32], length: int) -> NDArray[Any]:
    """The whole array, aligned, from the rows that were kept."""
    if not 0 <= length <= _MOST_ZEROS * (len(kept) + _MOST_ZEROS**2) or (rows.size and rows.min() < 0):
        raise ValueError("invalid rows")
    array = aligned.zeros((length, *kept.shape[1:]), kept.dtype)
    array[rows] = kept
    return array


def _digest(tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> str:
    """The sha256 of the facts and of the arrays with their names, types and shapes."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
