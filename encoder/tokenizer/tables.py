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
from safetensors.numpy import save
from tokenizers import Tokenizer

from encoder.arrays import aligned
from encoder.arrays.mmap_arrays import map_tensors
from encoder.errors import ModelFormatError
from encoder.model_files import plain_file
from encoder.tokenizer.check import vocabulary_fits
from encoder.tokenizer.fallback import median_token_length
from encoder.tokenizer.spec import LONGEST_TOKEN, highest_id, library_errors, read_spec
from encoder.tokenizer.vocabulary import compile_vocabulary, is_wordpiece

__all__ = ["FORMAT", "TABLES_FILE", "TokenizerTables", "compile_tokenizer", "pack_tables", "read_tables"]

TABLES_FILE = "tokenizer_tables.safetensors"
"""The file's name in a model folder."""

FORMAT = 1
"""The file's format; increase it whenever the meaning of an array changes."""

_ROWS = ".rows"
_MOST_TOKENS = 1 << 31  # ids are int32
_MOST_ZEROS = 64  # rows of zeros per kept row; a file with more is not ours


@dataclass(frozen=True)
class TokenizerTables:
    """What the encoder needs to know of a tokenizer.

    Attributes:
        n_tokens: one more than the highest token id.
        median_token_length: the median length of the vocabulary's entries, in characters.
        arrays: the arrays of `compile_vocabulary` by name; empty unless it is WordPiece.
        spec: the parsed `tokenizer.json`.
    """

    n_tokens: int
    median_token_length: int
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict, repr=False)


def compile_tokenizer(tokenizer_json: str) -> TokenizerTables:
    """Compile the tables of a tokenizer.

    Raises:
        ModelFormatError: `tokenizers` cannot parse the text, or it is beyond the limits of `read_spec`.
    """
    spec = read_spec(tokenizer_json)
    with library_errors(ModelFormatError, "tokenizer.json is not a tokenizer"):
        tokenizer = Tokenizer.from_str(tokenizer_json)
        n_tokens = max(highest_id(spec), *tokenizer.get_vocab().values(), -1) + 1
        if n_tokens > _MOST_TOKENS:
            raise ModelFormatError(f"tokenizer.json has the id {n_tokens - 1}: the limit is {_MOST_TOKENS:,}")
        return TokenizerTables(
            n_tokens,
            median_token_length(tokenizer),
            compile_vocabulary(spec) if is_wordpiece(spec) else {},
            spec,
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
    """Read the tables; None unless the file is intact, in this format and made of this `tokenizer.json`.

    Raises:
        ModelFormatError: `tokenizer.json` is beyond the limits of `read_spec`.
    """
    if not path.is_file():
        return None
    spec = read_spec(tokenizer_json)
    try:
        return _read(plain_file(path, path.parent), tokenizer_json, spec)
    except Exception:  # noqa: BLE001 - whatever is wrong with the file, the tokenizer can be compiled
        return None


def _read(path: Path, tokenizer_json: str, spec: dict[str, Any]) -> TokenizerTables | None:
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
    found = TokenizerTables(int(facts["n_tokens"]), int(facts["median_token_length"]), arrays, spec)
    fits = (
        highest_id(spec) < found.n_tokens <= _MOST_TOKENS
        and 0 <= found.median_token_length <= LONGEST_TOKEN
        and bool(arrays) == is_wordpiece(spec)
        and vocabulary_fits(arrays, found.n_tokens)
    )
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
