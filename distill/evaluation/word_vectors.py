"""Word vectors in the text format of GloVe and fastText, the baselines that people know.

A line is a word and its numbers, with blanks between them. fastText writes `number of words, dimensions` into
a first line, GloVe does not. A text's vector is the mean of its words' vectors.
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
    """Some words' vectors.

    Attributes:
        dim: their dimensions.
    """

    def __init__(self, rows: dict[str, int], vectors: NDArray[np.float32]) -> None:
        self._rows, self._vectors = rows, vectors
        self.dim = int(vectors.shape[1])

    def __len__(self) -> int:
        return len(self._rows)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The means of the texts' words, `(n_texts, dim)` float32; zeros where no word is known."""
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
    """Words and punctuation, in the text's own case."""
    return _TOKEN.findall(text)


def is_word_vectors(ref: str) -> bool:
    """Whether a name is that of a file of word vectors."""
    path = Path(ref)
    return path.is_file() and path.name.removesuffix(".gz").endswith(_SUFFIXES)


def load_word_vectors(path: str, texts: Iterable[str]) -> WordVectors:
    """Read the vectors of the words that occur in some texts, as they are written or in lower case.

    The file is read once, line by line, so that one of many gigabytes needs little memory.

    Raises:
        InputError: a line has other than the first line's number of values, or something that is no number.
    """
    wanted = {form for text in texts for word in words_of(text) for form in (word, word.lower())}
    rows: dict[str, int] = {}
    vectors: list[NDArray[np.float32]] = []
    dim = 0
    for number, line in _lines(path):
        if not dim:
            dim = line.count(" ")
        word, *values = line.rsplit(" ", dim)  # a few of GloVe's words have blanks in them
        if len(values) != dim:
            raise InputError(f"line {number} of {path} has {len(values)} values, the first has {dim}")
        if word not in wanted or word in rows:
            continue
        try:
            vectors.append(np.array(values, np.float32))
        except ValueError as error:
            raise InputError(f"line {number} of {path} has a value that is no number") from error
        rows[word] = len(vectors) - 1
    if not dim:
        raise InputError(f"{path} holds no word vectors: lines must be a word and its numbers")
    return WordVectors(rows, np.array(vectors, np.float32).reshape(len(vectors), dim))


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """The numbered lines behind the header, if there is one, and without blanks at their ends."""
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
