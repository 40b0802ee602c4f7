"""Token ids by the `tokenizers` library, for what the kernels do not do."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

__all__ = ["LibraryTokenizer", "median_token_length", "unknown_id"]


def unknown_id(tokenizer: Tokenizer, spec: dict[str, Any]) -> int | None:
    """The id that means "unknown", which pooling leaves out, or None."""
    model = spec["model"]
    if model.get("unk_token") is not None:
        found: int | None = tokenizer.token_to_id(model["unk_token"])
        return found
    unk_id: int | None = model.get("unk_id")
    return unk_id


def median_token_length(tokenizer: Tokenizer) -> int:
    """The median number of characters of the vocabulary's entries (model2vec cuts texts by it)."""
    return int(np.median([len(token) for token in tokenizer.get_vocab()]))


class LibraryTokenizer:
    """`tokenizers` with model2vec's meaning: cut, tokenised without special tokens, unknown ids left out."""

    def __init__(self, tokenizer_json: str, max_tokens: int | None, max_chars: int | None) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_padding()
        if max_tokens is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(max_tokens)
        self._max_chars = max_chars
        self._unknown = unknown_id(self._tokenizer, json.loads(tokenizer_json))

    def tokenise(self, texts: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Token ids of all texts, one text behind the other, and `(n_texts,)` where each one's end."""
        cut = texts if self._max_chars is None else [text[: self._max_chars] for text in texts]
        encodings = self._tokenizer.encode_batch_fast(cut, add_special_tokens=False)
        ids = [[i for i in encoding.ids if i != self._unknown] for encoding in encodings]
        ends = np.cumsum([len(row) for row in ids], dtype=np.int64)
        return np.array([i for row in ids for i in row], np.int32), ends
