"""Tokenise with the `tokenizers` library what the kernels do not support."""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from encoder.errors import ModelFormatError
from encoder.tokenizer.spec import library_errors

__all__ = ["LibraryTokenizer", "median_token_length", "unknown_id"]


def unknown_id(tokenizer: Tokenizer, spec: dict[str, Any]) -> int | None:
    """The id of the unknown token, which pooling skips, or None."""
    model = spec["model"]
    if model.get("unk_token") is not None:
        found: int | None = tokenizer.token_to_id(model["unk_token"])
        return found
    unk_id: int | None = model.get("unk_id")
    return unk_id


def median_token_length(tokenizer: Tokenizer) -> int:
    """The median length of the vocabulary's entries in characters; model2vec truncates texts by it."""
    return int(np.median([len(token) for token in tokenizer.get_vocab()]))


class LibraryTokenizer:
    """`tokenizers` as model2vec uses it: truncated texts, no special tokens, unknown ids removed.

    The library loads the vocabulary when the first text arrives; most streams never need it.
    """

    def __init__(
        self, tokenizer_json: str, max_tokens: int | None, max_chars: int | None, n_tokens: int
    ) -> None:
        self._json = tokenizer_json
        self._max_tokens = max_tokens
        self._max_chars = max_chars
        self._n_tokens = n_tokens

    @cached_property
    def _ready(self) -> tuple[Tokenizer, int | None]:
        """The tokenizer and the id of its unknown token."""
        with library_errors(ModelFormatError, "tokenizer.json is not a tokenizer"):
            tokenizer = Tokenizer.from_str(self._json)
        tokenizer.no_padding()
        if self._max_tokens is None:
            tokenizer.no_truncation()
        else:
            tokenizer.enable_truncation(self._max_tokens)
        return tokenizer, unknown_id(tokenizer, json.loads(self._json))

    def tokenise(self, texts: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The token ids of texts, concatenated, and `(n_texts,)` the end of each text in them."""
        tokenizer, unknown = self._ready
        cut = texts if self._max_chars is None else [text[: self._max_chars] for text in texts]
        encodings = tokenizer.encode_batch_fast(cut, add_special_tokens=False)
        ids = [[i for i in encoding.ids if i != unknown] for encoding in encodings]
        ends = np.cumsum([len(row) for row in ids], dtype=np.int64)
        return self.checked([i for row in ids for i in row]), ends

    def unknown_tokens(self, texts: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`(n_texts,)` each: how many tokens each text has, and how many of them are the unknown one."""
        tokenizer, unknown = self._ready
        cut = texts if self._max_chars is None else [text[: self._max_chars] for text in texts]
        ids = [one.ids for one in tokenizer.encode_batch_fast(cut, add_special_tokens=False)]
        missing = [0 if unknown is None else row.count(unknown) for row in ids]
        return np.array(list(map(len, ids)), np.int64), np.array(missing, np.int64)

    def checked(self, ids: Sequence[int]) -> NDArray[np.int32]:
        """Ids of `tokenizers` as an array; they become places in memory, so they must be below `n_tokens`.

        Raises:
            ModelFormatError: one is not.
        """
        found = np.array(ids, np.int64)
        if found.max(initial=-1) >= self._n_tokens:
            raise ModelFormatError(
                f"tokenizer.json gives the id {found.max()}, and the model has {self._n_tokens} tokens"
            )
        return found.astype(np.int32)
