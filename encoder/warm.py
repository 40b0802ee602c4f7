"""Compile all kernels ahead of time, for every kind of tokenizer, table and vector."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from encoder.arrays.dtypes import VectorType
from encoder.arrays.vectors import converted
from encoder.encoder import Encoder
from encoder.heads.cases import Cases, Strings
from encoder.heads.groups import Groups
from encoder.heads.scoring import Prototypes
from encoder.heads.vector_index import Cells
from encoder.kernels.compiled import compilations, folders_used, processor
from encoder.kernels.json_lines import scan_lines
from encoder.masks import KINDS, Masks
from encoder.model import StaticModel

__all__ = ["Warmed", "warm_kernels"]

_WORDS = ["card", "declined", "a", "c", "r", "d"]
_DIM = 8
_ANY, _NONE, _ROW = Strings.of(["any"]), Strings.of([""]), np.zeros(1, np.int32)
_CASE = np.eye(1, _DIM, dtype=np.float16)
_CELLS = Cells(_CASE, np.array([0, 1]))
_HEADS = (
    Prototypes("any", ("any",), np.ones((1, _DIM), np.float32), 0.0),
    Cases("known", _ANY, ("any",), _ROW, _CASE, 0.0, cells=_CELLS),
    Groups("event", _ANY, _ANY, np.ones(1, np.int64), _NONE, _NONE, _ANY, _ROW, _ANY, _ROW, _DIM),
)
_TEXTS = ["card declined, twice", "Card é ☃ 中文 e\u0301", "[UNK] card", "declined" * 9, "", None]


@dataclass(frozen=True)
class Warmed:
    """What `warm_kernels` did.

    Attributes:
        compiled: the number of functions compiled, without those loaded from disk.
        seconds: how long it took.
        folders: the folders with the code; empty if none is writable.
        processor: the processor that the code is for, as LLVM names it.
    """

    compiled: int
    seconds: float
    folders: list[Path]
    processor: str


def warm_kernels() -> Warmed:
    """Use all kernels in every way, so that they are compiled and saved to disk."""
    begin, before = time.monotonic(), compilations()
    Masks(KINDS)(["declined 2 cards"])
    scan_lines(np.frombuffer(b"{}", np.uint8))
    for tokenizer in _tokenizers():
        for kind, weighted in ((np.int8, False), (np.int8, True), (np.float32, False)):
            table = np.ones((tokenizer.get_vocab_size(), _DIM), kind)
            weights = np.ones(len(table), np.float32) if weighted else None
            model = StaticModel(table, tokenizer.to_str(), {"normalize": True}, weights, heads=_HEADS)
            encoder = Encoder(model, threads=1)
            vectors = encoder.encode(_TEXTS)
            encoder.heads(vectors, _TEXTS)
            for dtype in get_args(VectorType):
                encoder.encode(_TEXTS, dtype=dtype)
                converted(vectors, dtype)
    return Warmed(compilations() - before, time.monotonic() - begin, folders_used(), processor())


def _tokenizers() -> Iterator[Tokenizer]:
    """Yield a small tokenizer of each kind."""
    entries = ["[UNK]", "[", *_WORDS, *(f"##{word}" for word in _WORDS)]
    vocabulary, unknown = {entry: i for i, entry in enumerate(entries)}, "[UNK]"
    bert = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    bert.normalizer, bert.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    bert.add_special_tokens([unknown])
    yield bert

    unigram = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁", -2.0), *((word, -3.0) for word in _WORDS)], 0))
    for split in (True, False):
        unigram.pre_tokenizer = pre_tokenizers.Metaspace(split=split)
        yield unigram

    letters = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bpe = Tokenizer(models.BPE({**letters, "ca": len(letters)}, [("c", "a")]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    yield bpe
