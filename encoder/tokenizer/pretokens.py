"""Tokenise piece by piece with the tokenizers that `encoder.tokenizer.recipes` supports."""

import json
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from encoder.arrays.texts import TextBuffers, strings
from encoder.kernels.subwords.boundaries import DOUBT
from encoder.kernels.subwords.piece_table import remember_pieces
from encoder.kernels.subwords.tables import DONE, FALLBACK, MISSES, NEEDS_PAGE, UNSURE, PieceTables
from encoder.kernels.subwords.tokenise import gather, tokenise_pieces
from encoder.kernels.subwords.unigram import best_path
from encoder.tokenizer.characters import page_of_characters
from encoder.tokenizer.fallback import LibraryTokenizer, unknown_id
from encoder.tokenizer.recipes import Recipe, recipe
from encoder.tokenizer.subwords import subword_tables

__all__ = ["PretokenTokenizer", "pretoken_tokenizer"]

_SLOTS = 1 << 17
_NUMBERS_PER_SLOT = 8  # of the arena, which holds the bytes and ids of pieces
_FULL = 0.75
_MISSES = 1 << 14  # reported by one call of the kernel
_LAST_PAGE = 0x1100
# Fields that a recipe and the kernel's tables share; the model is decided later.
_SHARED = ("regex", "digits", "blanks", "prefix", "spaced", "strict", "parted", "margin")


@dataclass
class _PieceCache:
    """A table of pieces (`encoder.kernels.subwords.piece_table`) that one thread fills; 10 MB of memory."""

    slots: NDArray[np.uint64] = field(default_factory=lambda: np.zeros((_SLOTS, 2), np.uint64))
    arena: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(_SLOTS * _NUMBERS_PER_SLOT, np.uint64))
    used: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))

    def is_full(self) -> bool:
        return bool(self.used[0] > _FULL * len(self.slots) or self.used[1] > _FULL * len(self.arena))


def pretoken_tokenizer(
    tokenizer_json: str, spec: dict[str, Any], library: LibraryTokenizer, max_tokens: int, max_chars: int
) -> "PretokenTokenizer | None":
    """A tokenizer that works piece by piece, or None if only the library is exact."""
    found = recipe(spec)
    if found is None:
        return None
    return PretokenTokenizer(Tokenizer.from_str(tokenizer_json), spec, found, library, max_tokens, max_chars)


class PretokenTokenizer:
    """Returns the ids of `LibraryTokenizer`, and remembers pieces of texts and their ids."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        spec: dict[str, Any],
        recipe: Recipe,
        library: LibraryTokenizer,
        max_tokens: int,
        max_chars: int,
    ) -> None:
        self._library = library
        self._recipe = recipe
        self._resolver = _resolver(tokenizer, recipe)
        self._replaced = _replaced(spec.get("normalizer"))
        self._lock = threading.Lock()
        self._free: list[_PieceCache] = []
        self._max_tokens, self._max_chars = max_tokens, max_chars
        self._tables = _tables(tokenizer, spec, recipe, library)
        self._add_pages({0})

    def tokenise(
        self, texts: TextBuffers, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The token ids of some of the texts, concatenated, and `(n_rows,)` the end of each text in them.

        Raises:
            InputError: a text is not valid UTF-8.
        """
        try:
            cache = self._free.pop()  # atomic, so no other thread has it
        except IndexError:
            cache = _PieceCache()
        first, lengths = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        parts: list[NDArray[np.int32]] = []
        pending, base, more = np.arange(len(rows)), 0, True
        to_library = np.zeros(0, np.int64)
        while len(pending) and more:
            ids, ends, status, missing = self._run(texts, rows[pending], cache)
            done = status == DONE
            begins = np.concatenate([[0], ends[:-1]])
            first[pending[done]] = base + begins[done]
            lengths[pending[done]] = (ends - begins)[done]
            parts.append(ids[: ends[-1]])
            base += int(ends[-1])
            to_library = np.concatenate([to_library, pending[status == FALLBACK]])
            again = (status == MISSES) | (status % 4 == NEEDS_PAGE)
            pages = set((status[status % 4 == NEEDS_PAGE] // 4).tolist())
            more = self._add_pages(pages) | self._resolve(texts, missing, cache)
            pending = pending[again]
        to_library = np.concatenate([to_library, pending])
        if not cache.is_full():  # drop a full one, so that caches follow the stream
            self._free.append(cache)
        if len(parts) == 1 and not len(to_library):
            return parts[0], ends
        if len(to_library):
            ids, ends = self._library.tokenise(strings(texts, rows[to_library]))
            begins = np.concatenate([[0], ends[:-1]])
            first[to_library], lengths[to_library] = base + begins, ends - begins
            parts.append(ids)
        return gather(np.concatenate([*parts, np.zeros(0, np.int32)]), first, lengths)

    def _run(self, texts: TextBuffers, rows: NDArray[np.int64], cache: _PieceCache) -> Any:
        n_bytes = int((texts.offsets[rows + 1] - texts.offsets[rows]).sum())
        ids = np.empty(2 * n_bytes + 4096, np.int32)
        ends, status = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
        missing = np.empty((_MISSES, 3), np.int64)
        n_missing = tokenise_pieces(
            texts.data,
            texts.offsets,
            rows,
            self._tables,
            cache.slots,
            cache.arena,
            cache.used,
            self._max_tokens,
            self._max_chars,
            ids,
            ends,
            status,
            missing,
        )
        return ids, ends, status, missing[:n_missing]

    def _add_pages(self, numbers: set[int]) -> bool:
        """Classify the characters of these pages; whether there were any."""
        with self._lock:
            for number in sorted(numbers):
                tables = self._tables
                if tables.page_of[number] < 0:
                    page = page_of_characters(self._recipe, self._resolver, self._replaced, number)
                    page_of = tables.page_of.copy()
                    page_of[number] = len(tables.pages)
                    self._tables = tables._replace(page_of=page_of, pages=np.vstack([tables.pages, page]))
                    if number == 0:
                        self._tables.ascii[:128] = page[:128]
        return bool(numbers)

    def _resolve(self, texts: TextBuffers, missing: NDArray[np.int64], cache: _PieceCache) -> bool:
        """Tokenise each missing piece once and remember it; False if there were none or the cache is full."""
        if not len(missing):
            return False
        whole = texts.data
        found = {(whole[i : i + n].tobytes(), bool(lead)): None for i, n, lead in missing.tolist()}
        pieces = [(" " if lead else "") + piece.decode() for piece, lead in found]
        if self._recipe.margin:
            ids = [self._best_path(piece) for piece in pieces]
        else:
            encodings = self._resolver.encode_batch_fast(pieces, add_special_tokens=False)
            ids = [encoding.ids for encoding in encodings]
        return bool(
            remember_pieces(
                np.frombuffer(b"".join(piece for piece, _ in found), np.uint8),
                np.cumsum([len(piece) for piece, _ in found]),
                np.array([lead for _, lead in found]),
                self._library.checked([i for row in ids for i in row]),
                np.cumsum([len(row) for row in ids]),
                cache.slots,
                cache.arena,
                cache.used,
            )
        )

    def _best_path(self, piece: str) -> list[int]:
        """The ids of a piece of a text that Unigram does not split, or `UNSURE`."""
        form = self._resolver.normalizer.normalize_str(piece) if self._resolver.normalizer else piece
        parts = self._resolver.pre_tokenizer.pre_tokenize_str(form)
        text = np.frombuffer("".join(part for part, _ in parts).encode(), np.uint8)
        n = len(text)
        ids, paths, sums = np.empty(n, np.int32), np.empty((n + 1, 3), np.int32), np.empty(n + 1)
        t = self._tables
        end = best_path(text, n, t.edges, t.tokens, t.scores, t.unknown_score, t.margin, paths, sums, ids, 0)
        return [UNSURE] if end < 0 else ids[:end].tolist()


def _resolver(tokenizer: Tokenizer, recipe: Recipe) -> Tokenizer:
    """The tokenizer for single pieces, which shares the model."""
    parts = {"normalizer": recipe.normalizer, "pre_tokenizer": recipe.pre_tokenizer}
    empty = {"type": "BPE", "vocab": {}, "merges": []}
    small = Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": empty, **parts}))
    resolver = Tokenizer(tokenizer.model)
    if small.normalizer:
        resolver.normalizer = small.normalizer
    if small.pre_tokenizer:
        resolver.pre_tokenizer = small.pre_tokenizer
    return resolver


def _replaced(normalizer: dict[str, Any] | None) -> str:
    """Characters that the normaliser may replace together with others."""
    if normalizer is None:
        return ""
    inner = "".join(_replaced(part) for part in normalizer.get("normalizers", []))
    return inner + str(normalizer.get("pattern", {}).get("String", ""))


def _tables(
    tokenizer: Tokenizer, spec: dict[str, Any], recipe: Recipe, library: LibraryTokenizer
) -> PieceTables:
    model = spec["model"]
    added = [token["content"].encode() for token in spec.get("added_tokens", [])]
    width = max((len(token) for token in added), default=1)
    unknown = unknown_id(tokenizer, spec)
    # Not the ids of the file, which `tokenizers` ignores as well.
    own = [tokenizer.token_to_id(token["content"]) for token in spec.get("added_tokens", [])]
    return PieceTables(
        **{name: getattr(recipe, name) for name in _SHARED},
        unknown=-1 if unknown is None else unknown,
        ascii=np.full(256, DOUBT, np.uint8),
        page_of=np.full(_LAST_PAGE, -1, np.int32),
        pages=np.zeros((0, 256), np.uint8),
        added=np.array([list(token.ljust(width, b"\xff")) for token in added], np.uint8).reshape(-1, width),
        added_ids=library.checked(own),
        added_first=np.isin(np.arange(256), [token[0] for token in added]),
        **subword_tables(model, recipe.model),
    )
