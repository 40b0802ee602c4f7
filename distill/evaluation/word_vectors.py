"""Word vectors in the text format of GloVe and fastText, as a baseline.

A line holds a word and its numbers, separated by blanks. fastText starts with a line of the number of words
and dimensions, GloVe does not. A text's vector is the mean of its words' vectors.
"""

import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError

__all__ = ["WordVectors", "is_word_vectors", "load_word_vectors"]

_SUFFIXES = (".vec", ".txt")
_TOKEN = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
_HEADER_FIELDS = 2


class WordVectors:
    """The vectors of some words.

    Attributes:
        dim: the dimensions of a vector.
    """

    def __init__(self, rows: dict[str, int], vectors: NDArray[np.float32]) -> None:
        self._rows, self._vectors = rows, vectors
        self.dim = int(vectors.shape[1])

    def __len__(self) -> int:
        return len(self._rows)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Average the vectors of each text's known words, `(n_texts, dim)` float32; zeros without any."""
        out = np.zeros((len(texts), self.dim), np.float32)
        for i, text in enumerate(texts):
            rows = [row for word in words_of(text) if (row := self._row(word)) is not None]
            if rows:
                out[i] = self._vectors[rows].mean(axis=0)
        return out

    def _row(self, word: str) -> int | None:
        row = self._rows.get(word)
        return self._rows.get(word.lower()) if row is None else row


def words_of(text: str) -> list[str]:
    """Split a text into words and punctuation; case is kept."""
    return _TOKEN.findall(text)


def is_word_vectors(ref: str) -> bool:
    """Whether a reference names a file of word vectors."""
    path = Path(ref)
    return path.is_file() and path.name.removesuffix(".gz").endswith(_SUFFIXES)


def load_word_vectors(path: str, texts: Iterable[str]) -> WordVectors:
    """Read the vectors of the words in some texts, in their own case or in lower case.

    The file is read once, line by line, so a large file needs little memory.

    Raises:
        InputError: a line has a different number of values than the first, or a value is not a number.
    """
    wanted = {form for text in texts for word in words_of(text) for form in (word, word.lower())}
    rows: dict[str, int] = {}
    vectors: list[NDArray[np.float32]] = []
    dim = 0
    for number, line in _lines(path):
        if not dim:
            dim = line.count(" ")
        word, *values = line.rsplit(" ", dim)  # a few of GloVe's words contain blanks
        if len(values) != dim:
            raise InputError(f"line {number} of {path} has {len(values)} values, the first has {dim}")
        if word not in wanted or word in rows:
            continue
        try:
            vectors.append(np.array(values, np.float32))
        except ValueError as error:
            raise InputError(f"line {number} of {path} has a value that is not a number") from error
        rows[word] = len(vectors) - 1
    if not dim:
        raise InputError(f"{path} holds no word vectors: each line must be a word and its numbers")
    return WordVectors(rows, np.array(vectors, np.float32).reshape(len(vectors), dim))


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """Yield the lines after the header, if any, with their numbers and without surrounding blanks."""
    file: IO[str]
    try:
        opened = gzip.open if path.endswith(".gz") else open
        with opened(path, "rt", encoding="utf-8", errors="replace", newline="\n") as file:
            for number, line in enumerate(file, 1):
                stripped = line.strip(" \r\n")
                parts = stripped.split(" ", _HEADER_FIELDS)
                is_header = number == 1 and len(parts) == _HEADER_FIELDS and all(map(str.isdecimal, parts))
                if stripped and not is_header:
                    yield number, stripped
    except OSError as error:
        raise InputError(f"cannot read the word vectors {path}: {error}") from error
