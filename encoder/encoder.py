"""`Encoder`: texts in, vectors out."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from encoder.errors import ConfigurationError
from encoder.kernels.pieces import ROOM
from encoder.kernels.pool import pool_texts
from encoder.kernels.wordpiece import DONE, NEEDS_PAGE, tokenise
from encoder.model import StaticModel, load_model
from encoder.reference import Reference, parse
from encoder.texts import TextBuffers, as_arrays, buffers, strings
from encoder.tokenizer.fallback import LibraryTokenizer, median_token_length
from encoder.tokenizer.memo import WordMemos
from encoder.tokenizer.wordpiece import WordPieceCompiler, is_wordpiece
from encoder.vectors import VectorType, vectors_for

if TYPE_CHECKING:
    from encoder.store.manifest import Manifest

__all__ = ["Encoder"]

_NO_LIMIT = 1 << 60  # above any text, and the kernel's sums with it do not overflow
_BLOCK = 4096  # texts that one thread takes at a time


class Encoder:
    """Embeds texts with a static model.

    The vectors are model2vec's on the same folder: the mean of the token vectors, scaled to length 1 where
    the model says so. The same text gives the same bits in any batch and with any number of threads.

    Attributes:
        dim: the number of dimensions.
        manifest: the version's manifest, or None for a model from a folder.
    """

    def __init__(
        self, model: StaticModel, manifest: "Manifest | None" = None, *, threads: int | None = None
    ) -> None:
        self.manifest = manifest
        self.dim = model.dim
        self._model = model
        self._table = _token_table(model)
        self._memos = WordMemos()
        self._threads = threads or len(os.sched_getaffinity(0))
        spec = json.loads(model.tokenizer_json)
        tokenizer = Tokenizer.from_str(model.tokenizer_json)
        # model2vec's two limits: characters before, tokens while tokenising.
        self._max_tokens = model.max_length
        self._max_chars = (
            None if model.max_length is None else model.max_length * median_token_length(tokenizer)
        )
        self._compiler = WordPieceCompiler(tokenizer, spec) if is_wordpiece(spec) else None
        self._library = LibraryTokenizer(model.tokenizer_json, self._max_tokens, self._max_chars)

    @classmethod
    def load(cls, ref: str | os.PathLike[str] | Reference, *, threads: int | None = None) -> Self:
        """Load a model by reference: a folder, or a version in a store (`s3://bucket/models/minilm@7`).

        A version is fetched once per machine, verified against its manifest and memory-mapped.

        Args:
            ref: see `encoder.reference`.
            threads: threads that `encode` uses; by default all cores that the process may use.

        Raises:
            InvalidReference: the REF cannot be read.
            NotInStore: the store has no such version.
            StoreUnavailable: the store does not answer.
            CorruptVersion: the store's bytes do not match the manifest.
            ModelFormatError: the folder is no static model.
        """
        reference = ref if isinstance(ref, Reference) else parse(os.fspath(ref))
        if reference.kind == "folder":
            return cls(load_model(reference.location), threads=threads)
        from encoder.store.cache import cached_model  # noqa: PLC0415 - a folder needs no object store

        folder, manifest = cached_model(reference)
        return cls(load_model(folder), manifest, threads=threads)

    def encode(
        self,
        texts: Any,
        *,
        dtype: VectorType = "float32",
        dims: int | None = None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Embed texts.

        Args:
            texts: one str, an iterable of str or None, or an Arrow array of strings (chunked, sliced,
                dictionary-encoded).
            dtype: `float32`; `float16`, rounded to the nearest; `int8`, each vector scaled such that its
                largest component is 127 or -127, which keeps its cosines; `binary`, one bit a dimension,
                set where it is positive, packed as by `numpy.packbits`.
            dims: keep only the first dimensions and scale these to length 1 (if the model normalises): the
                principal components of a distilled model come in the order of their variance.
            out: what would be returned for as many texts or more, C-contiguous: where to write, instead of
                to memory of its own. A loop that gives the same array each time is spared the system's work
                of handing out new pages.

        Returns:
            `(n_texts, dims)` of the dtype, `(n_texts, ceil(dims / 8))` uint8 for `binary`; without the first
            axis for one str; the first rows of `out`, if given. Null and empty texts are zeros.

        Raises:
            InputError: the texts are no strings, or `out` does not fit.
            ConfigurationError: there is no such dtype, or the model has fewer dimensions.
        """
        if isinstance(texts, str):
            vector: NDArray[Any] = self.encode([texts], dtype=dtype, dims=dims, out=out)[0]
            return vector
        arrays = [buffers(array) for array in as_arrays(texts)]
        n_texts = sum(len(a.offsets) - 1 for a in arrays)
        dims = self._checked_dims(dims)
        found = vectors_for(n_texts, dims, dtype, out)
        written = found.view(np.uint16) if dtype == "float16" else found  # kernels know it by its bits
        first = 0
        for array in arrays:
            last = first + len(array.offsets) - 1
            self._encode_array(array, dims, written[first:last])
            first = last
        return found

    def _checked_dims(self, dims: int | None) -> int:
        if dims is None:
            return self.dim
        if not 1 <= dims <= self.dim:
            raise ConfigurationError(f"dims is {dims}: the model has {self.dim}")
        return dims

    def _encode_array(self, texts: TextBuffers, dims: int, out: NDArray[Any]) -> None:
        n_texts = len(out)
        blocks = [slice(first, min(first + _BLOCK, n_texts)) for first in range(0, n_texts, _BLOCK)]
        if self._threads == 1 or len(blocks) < 2:  # noqa: PLR2004 - nothing to share out
            for block in blocks:
                self._encode_block(texts, block, dims, out)
            return
        with ThreadPoolExecutor(min(self._threads, len(blocks))) as pool:
            list(pool.map(lambda block: self._encode_block(texts, block, dims, out), blocks))

    def _encode_block(self, texts: TextBuffers, block: slice, dims: int, out: NDArray[Any]) -> None:
        part = texts.block(block.start, block.stop, ROOM)
        if self._compiler is None:
            lengths = np.diff(part.offsets)
            filled = lengths > 0 if len(part.valid) == 0 else (lengths > 0) & part.valid
            out[block] = 0
            self._encode_by_library(part, np.flatnonzero(filled), dims, out[block])
        else:
            self._encode_by_kernel(self._compiler, part, dims, out[block])

    def _encode_by_kernel(
        self, compiler: WordPieceCompiler, texts: TextBuffers, dims: int, out: NDArray[Any]
    ) -> None:
        ids = np.empty(texts.offsets[-1] - texts.offsets[0] + 16, np.int32)
        ends, status = np.empty(len(out), np.int64), np.empty(len(out), np.int32)
        max_tokens = _NO_LIMIT if self._max_tokens is None else self._max_tokens
        max_chars = _NO_LIMIT if self._max_chars is None else self._max_chars
        memo = self._memos.take(compiler.tables.words)

        def tokenised() -> int:
            pending: int = tokenise(*texts, compiler.tables, memo, max_tokens, max_chars, ids, ends, status)
            return pending

        pending = tokenised()
        while pending and (status % 8 == NEEDS_PAGE).any():
            # Rare: a script that this process has not met. Learn its characters, then do the block again.
            compiler.add_pages(set((status[status % 8 == NEEDS_PAGE] // 8).tolist()))
            pending = tokenised()
        self._memos.give_back(memo)
        self._pool(ids, ends, dims, out)
        if pending:
            self._encode_by_library(texts, np.flatnonzero(status != DONE), dims, out)

    def _encode_by_library(
        self, texts: TextBuffers, rows: NDArray[np.int64], dims: int, out: NDArray[Any]
    ) -> None:
        found = np.empty((len(rows), out.shape[1]), out.dtype)
        self._pool(*self._library.tokenise(strings(texts, rows)), dims, found)
        out[rows] = found

    def _pool(self, ids: NDArray[np.int32], ends: NDArray[np.int64], dims: int, out: NDArray[Any]) -> None:
        sums: NDArray[Any] = np.empty(dims, np.int16 if self._table.dtype == np.int8 else np.float32)
        pool_texts(ids, ends, self._table, self._model.normalize, sums, out)


def _token_table(model: StaticModel) -> NDArray[Any]:
    """The table with one row a token id, in a type that the kernels read; int8 and float32 stay mapped."""
    table = model.table
    if model.mapping is not None:
        table = table[model.mapping]
    if model.weights is not None:
        n_tokens = min(len(table), len(model.weights))  # either may have rows to spare
        table = table[:n_tokens].astype(np.float32) * model.weights[:n_tokens, None].astype(np.float32)
    if table.dtype not in (np.int8, np.float32):
        table = table.astype(np.float32)
    table = np.ascontiguousarray(table).view(np.ndarray)
    table.flags.writeable = False  # as a memory map is: Numba compiles anew for arrays that may be written to
    return table
