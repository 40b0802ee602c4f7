"""Tokenise blocks of texts: by a kernel where possible, otherwise by `tokenizers`."""

import numpy as np
from numpy.typing import NDArray

from encoder.arrays.texts import TextBuffers, strings
from encoder.errors import InputError, ModelFormatError
from encoder.kernels.wordpiece.tokenise import DONE, NEEDS_PAGE, tokenise
from encoder.tokenizer.fallback import LibraryTokenizer
from encoder.tokenizer.pretokens import pretoken_tokenizer
from encoder.tokenizer.spec import library_errors, read_spec
from encoder.tokenizer.tables import TokenizerTables, compile_tokenizer
from encoder.tokenizer.vocabulary import is_wordpiece
from encoder.tokenizer.word_cache import WordCaches
from encoder.tokenizer.wordpiece import WordPieceCompiler

__all__ = ["BlockTokenizer", "Ids"]

_NO_LIMIT = 1 << 60  # above any text's length, without overflow in the kernel's sums

Ids = tuple[NDArray[np.int32], NDArray[np.int64]]
"""The token ids of texts, concatenated, and `(n_texts,)` the end of each text in them."""


class BlockTokenizer:
    """Tokenises blocks of texts; any number of threads may share it."""

    def __init__(
        self,
        tokenizer_json: str,
        max_tokens: int | None,
        tables: TokenizerTables | None = None,
        n_rows: int = _NO_LIMIT,
    ) -> None:
        """Prepare a tokenizer.

        Args:
            tokenizer_json: the text of `tokenizer.json`.
            max_tokens: how many tokens of a text to use, or None for all.
            tables: its compiled tables, or None to compile them.
            n_rows: the number of token vectors.

        Raises:
            ModelFormatError: the tokenizer cannot be used, or has ids beyond the token vectors.
        """
        tables = tables or compile_tokenizer(tokenizer_json)
        if tables.n_tokens > n_rows:
            raise ModelFormatError(
                f"there are {n_rows} vectors for {tables.n_tokens} tokens: table and tokenizer do not match"
            )
        with library_errors(ModelFormatError, "the tokenizer of tokenizer.json cannot be used"):
            self._prepare(tokenizer_json, max_tokens, tables)

    def _prepare(self, tokenizer_json: str, max_tokens: int | None, tables: TokenizerTables) -> None:
        spec = tables.spec or read_spec(tokenizer_json)
        # model2vec limits first the characters, then the tokens.
        max_chars = None if max_tokens is None else max_tokens * tables.median_token_length
        self._compiler = WordPieceCompiler(spec, tables) if is_wordpiece(spec) else None
        self._caches = WordCaches()
        self._max_tokens = _NO_LIMIT if max_tokens is None else max_tokens
        self._max_chars = _NO_LIMIT if max_chars is None else max_chars
        self._library = LibraryTokenizer(tokenizer_json, max_tokens, max_chars, tables.n_tokens)
        limits = self._max_tokens, self._max_chars
        self._pretokens = pretoken_tokenizer(tokenizer_json, spec, self._library, *limits)

    def tokenise(self, texts: TextBuffers) -> Ids:
        """The ids of a block's texts.

        Raises:
            InputError: a text is not valid UTF-8, or the tokenizer fails with it.
        """
        with library_errors(InputError, "the tokenizer fails with a text"):
            return self._tokenise(texts)

    def unknown_tokens(self, texts: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many tokens texts have and how many of them are unknown, by the library: 40 µs a text.

        Raises:
            InputError: the tokenizer fails with a text.
        """
        with library_errors(InputError, "the tokenizer fails with a text"):
            return self._library.unknown_tokens(texts)

    def _tokenise(self, texts: TextBuffers) -> Ids:
        if self._compiler is not None:
            return self._by_kernel(self._compiler, texts)
        filled = np.diff(texts.offsets) > 0
        rows = np.flatnonzero(filled & texts.valid if len(texts.valid) else filled)
        if self._pretokens is None:
            return self._by_library((np.zeros(0, np.int32), np.zeros(len(filled), np.int64)), texts, rows)
        ids, ends = self._pretokens.tokenise(texts, rows)
        lengths = np.zeros(len(filled), np.int64)
        lengths[rows] = np.diff(ends, prepend=0)
        return ids, np.cumsum(lengths)

    def _by_kernel(self, compiler: WordPieceCompiler, texts: TextBuffers) -> Ids:
        found, status, n_pending = self._run_kernel(compiler, texts)
        if not n_pending:  # nearly always; looking for them takes longer than a short text
            return found
        rows = np.flatnonzero(status != DONE)
        while len(unknown := status[rows][status[rows] % 8 == NEEDS_PAGE]):
            # Rare: a script new to this process. Learn its characters, then repeat its texts.
            compiler.add_pages(set((unknown // 8).tolist()))
            more, status[rows], _ = self._run_kernel(compiler, texts.take(rows))
            found = _with_rows(found, more, rows)
            rows = np.flatnonzero(status != DONE)
        return self._by_library(found, texts, rows)

    def _run_kernel(
        self, compiler: WordPieceCompiler, texts: TextBuffers
    ) -> tuple[Ids, NDArray[np.int32], int]:
        """The ids, the status of each text, and the number of texts that are not done."""
        n_texts = len(texts.offsets) - 1
        ids = np.empty(texts.offsets.item(-1) - texts.offsets.item(0) + 16, np.int32)
        ends, status = np.empty(n_texts, np.int64), np.empty(n_texts, np.int32)
        cache = self._caches.take(compiler.tables.words)
        limits = self._max_tokens, self._max_chars
        n_pending = tokenise(*texts, compiler.tables, cache, *limits, ids, ends, status)
        self._caches.give_back(cache)
        return (ids, ends), status, n_pending

    def _by_library(self, found: Ids, texts: TextBuffers, rows: NDArray[np.int64]) -> Ids:
        if not len(rows):
            return found
        return _with_rows(found, self._library.tokenise(strings(texts, rows)), rows)


def _with_rows(found: Ids, more: Ids, rows: NDArray[np.int64]) -> Ids:
    """Insert the ids of rows that have none yet."""
    ends, lengths = found[1], np.diff(more[1], prepend=0)
    shifts = np.zeros(len(ends), np.int64)
    shifts[rows] = lengths
    ids = np.insert(found[0][: ends[-1]], np.repeat(ends[rows], lengths), more[0][: more[1][-1]])
    return ids, ends + np.cumsum(shifts)
