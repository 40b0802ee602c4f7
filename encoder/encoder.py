"""`Encoder` turns texts into vectors."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from encoder.arrays import aligned
from encoder.arrays.dtypes import VectorType
from encoder.arrays.texts import Block, TextBuffers, in_blocks, read_texts
from encoder.arrays.vectors import past_caches, vectors_for
from encoder.errors import ConfigurationError, CorruptVersion, ModelFormatError
from encoder.heads.scoring import Heads
from encoder.kernels.pool import pool_texts
from encoder.model import StaticModel, load_model
from encoder.reference import Reference, parse
from encoder.threads import default_threads, share_out
from encoder.tokenizer.ids import BlockTokenizer, Ids
from encoder.tokens import TokenIds, TokenVectors

if TYPE_CHECKING:
    from encoder.store.manifest import Manifest
    from encoder.store.signing.trust import Trusted

__all__ = ["Encoder"]

_LARGEST_WEIGHT = 255  # which the kernels multiply int8 rows by


class Encoder:
    """Embeds texts with a static model.

    A vector is the mean of the text's token vectors, scaled to length 1 if the model says so; model2vec gives
    the same vectors for the same folder. A text gives the same bits in any batch and with any number of
    threads.

    Attributes:
        dim: the number of dimensions.
        manifest: the version's manifest, or None for a model from a folder.
        heads: the model's heads. `heads(vectors, texts)` takes `(n_texts, dim)` float32 as from `encode`, and
            the texts if there are groups; it returns the outcome of each head, in the order of `heads.names`.
        masks: what is masked in texts before they are embedded.
    """

    def __init__(
        self, model: StaticModel, manifest: "Manifest | None" = None, *, threads: int | None = None
    ) -> None:
        """Use a model in memory.

        Raises:
            ModelFormatError: its tokenizer cannot be used, or does not match its table.
            CorruptVersion: the manifest and the model's `config.json` name different masks.
            ConfigurationError: `threads` or `MILLSTREAM_THREADS` is not a positive number.
        """
        self.masks = model.masks
        if manifest is not None and manifest.masks != self.masks.to_json():
            raise CorruptVersion(
                f"the manifest of {manifest.name}@{manifest.version} says that it masks "
                f"{', '.join(manifest.masks) or 'none'}, and its config.json {self.masks}: publish it again"
            )
        self.manifest = manifest
        self.dim = model.dim
        self.heads = Heads(model.heads, unit=model.normalize, masks=self.masks)
        self._normalize = model.normalize
        self._table, self._weights = _token_table(model)
        try:
            self._tokenizer = BlockTokenizer(
                model.tokenizer_json, model.max_length, model.tables, len(self._table)
            )
        except ModelFormatError as error:
            raise ModelFormatError(f"cannot use the model{model.where}: {error}") from error
        self._threads = default_threads() if threads is None else threads
        if self._threads < 1:
            raise ConfigurationError(f"threads is {threads}: it must be at least 1, or None for all cores")

    @classmethod
    def load(
        cls,
        ref: str | os.PathLike[str] | Reference,
        *,
        threads: int | None = None,
        trust: "Trusted" = None,
    ) -> Self:
        """Load a model from a folder or from a store.

        Millstream fetches a version once per machine, verifies it against its manifest and memory-maps it.
        `latest` is the newest version that can be used: the log says which ones were refused.

        Args:
            ref: a folder such as `models/minilm`, or a version such as `s3://bucket/models/minilm@7`
                (`encoder.reference` lists all forms).
            threads: the most threads that a call uses; by default `MILLSTREAM_THREADS`, or all cores that the
                process may use.
            trust: the public keys that may sign versions, as files or PEM texts; by default those of
                `MILLSTREAM_TRUST`. A folder needs no signature.

        Raises:
            InvalidReference: the reference is invalid.
            NotInStore: the store has no such version.
            StoreUnavailable: the store does not answer.
            CorruptVersion: the store's bytes do not match the manifest.
            BadSignature: no trusted key signed the version.
            ModelFormatError: the folder is not a static model.
            ConfigurationError: `threads` or `MILLSTREAM_THREADS` is not a positive number.
        """
        reference = ref if isinstance(ref, Reference) else parse(os.fspath(ref))
        if reference.kind == "folder":
            return cls(load_model(reference.location), threads=threads)
        from encoder.store.newest import load_version

        model, manifest = load_version(
            reference, lambda folder, manifest: (load_model(folder), manifest), trust=trust
        )
        return cls(model, manifest, threads=threads)

    def encode(
        self,
        texts: Any,
        *,
        dtype: VectorType = "float32",
        dims: int | None = None,
        out: NDArray[Any] | None = None,
        masked: bool = False,
    ) -> NDArray[Any]:
        """Embed texts.

        Args:
            texts: one str, an iterable of str or None, or an Arrow array of strings (chunked, sliced,
                dictionary-encoded).
            dtype: `float32`; `float16`, rounded to nearest; `int8`, each vector scaled so that its largest
                component is 127 or -127, which keeps cosines; or `binary`, one bit per dimension, set if the
                component is positive, packed as by `numpy.packbits`.
            dims: return only the first dimensions, scaled to length 1 if the model normalises. The
                dimensions of a distilled model are sorted by variance, so the first ones matter most.
            out: a C-contiguous array to write to, of the shape and dtype of the result or with more rows. A
                loop that passes the same array each time saves the system the work of allocating pages.
            masked: whether the texts are masked already, by `masks`.

        Returns:
            `(n_texts, dims)` of the dtype, or `(n_texts, ceil(dims / 8))` uint8 for `binary`; without the
            first axis for a single str; the first rows of `out` if you pass one. Null and empty texts give
            zeros.

        Raises:
            InputError: the texts are not strings, or `out` has the wrong shape, type or layout.
            ConfigurationError: `dtype` is unknown, or `dims` exceeds the model's.
        """
        parts = read_texts(texts)
        dims = self._checked_dims(dims)
        found = vectors_for(sum(len(part.offsets) - 1 for part in parts), dims, dtype, out)
        written = found.view(np.uint16) if dtype == "float16" else found  # Numba has no float16
        streamed = past_caches(written)

        def encode(block: Block) -> None:
            ids, ends = (self._tokenizer.tokenise if masked else self._tokenise)(block.texts)
            rows = written[block.first : block.first + len(ends)]
            pool_texts(ids, ends, self._table, self._weights, self._normalize, dims, rows, streamed)

        share_out(encode, in_blocks(parts, self._threads), self._threads)
        return found[0] if isinstance(texts, str) else found

    def tokenise(self, texts: Any) -> TokenIds:
        """The ids of the tokens whose vectors `encode` averages.

        They equal those of `tokenizers` without special tokens and without the unknown token, truncated to
        the model's `max_length`. Null and empty texts have none.

        Args:
            texts: as for `encode`.

        Returns:
            `ids`, `(n_tokens,)` int32 of all texts one after another, and `offsets`, `(n_texts + 1,)` int64:
            text r has `ids[offsets[r]:offsets[r + 1]]`.

        Raises:
            InputError: the texts are not strings.
        """
        blocks = in_blocks(read_texts(texts), self._threads)
        found: list[Any] = [None] * len(blocks)

        def tokenise(k: int) -> None:
            ids, ends = self._tokenise(blocks[k].texts)
            found[k] = ids[: ends[-1]].copy(), ends  # the block's own array is several times as large

        share_out(tokenise, range(len(blocks)), self._threads)
        return TokenIds.join(found)

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """`(n_texts,)` float64: the share of each text's tokens that the model does not know and leaves out.

        It runs at the speed of `tokenizers`, so ask it of a sample. A text without tokens has a share of 0.

        Raises:
            InputError: the tokenizer fails with a text.
        """
        masked = self.masks(list(texts)).to_pylist()
        total, unknown = self._tokenizer.unknown_tokens(masked)
        found: NDArray[np.float64] = unknown / np.maximum(total, 1)
        return found

    def encode_tokens(self, texts: Any) -> TokenVectors:
        """The vector of each token of each text, for late interaction or to explain a text's vector.

        A text's vector is their mean, scaled to length 1 if the model says so.

        Args:
            texts: as for `encode`.

        Returns:
            `ids` and `offsets` as from `tokenise`, and `vectors`, `(n_tokens, dim)` float32: rows of the
            model's table times the model's weights. int8 values have no other scale, as in model2vec.

        Raises:
            InputError: the texts are not strings.
        """
        ids, offsets = self.tokenise(texts)
        vectors = self._table[ids].astype(np.float32, copy=False)
        if self._weights is not None:
            vectors *= self._weights[ids, None]
        return TokenVectors(ids, offsets, vectors)

    def _tokenise(self, texts: TextBuffers) -> Ids:
        return self._tokenizer.tokenise(self.masks.buffers(texts))

    def _checked_dims(self, dims: int | None) -> int:
        if dims is None:
            return self.dim
        if not 1 <= dims <= self.dim:
            raise ConfigurationError(f"dims is {dims}: the model has {self.dim}")
        return dims


def _token_table(model: StaticModel) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """The table with one row per token id, int8 or float32, and the weights that are not multiplied into it.

    A table that needs no change stays memory-mapped.
    """
    table, weights = model.table, model.weights
    if model.mapping is not None:
        table = table[model.mapping]
    small = _small_weights(model)
    if weights is not None and small is None:
        n_tokens = min(len(table), len(weights))  # either may have unused rows
        table = table[:n_tokens].astype(np.float32) * weights[:n_tokens, None].astype(np.float32)
    kind = table.dtype if table.dtype in (np.int8, np.float32) else np.float32
    if table is not model.table or table.dtype != kind:  # it is not the memory map any more
        own = aligned.empty(table.shape, kind)
        own[:] = table
        table = own
    table = np.ascontiguousarray(table).view(np.ndarray)
    table.flags.writeable = False  # as a memory map is: Numba compiles another variant for writeable arrays
    return table, small


def _small_weights(model: StaticModel) -> NDArray[np.uint8] | None:
    """The weights of an int8 table as bytes, or None if they are no whole numbers from 0 to 255."""
    if model.weights is None or model.table.dtype != np.int8:
        return None
    small: NDArray[np.uint8] = model.weights.clip(0, _LARGEST_WEIGHT).astype(np.uint8)
    if not np.array_equal(small, model.weights):
        return None
    small.flags.writeable = False
    return small
