"""The teacher's vectors of a corpus, each computed once and kept on disk by the digest of its text.

A teacher has a folder of its own with two files that only grow: `vectors.f16`, the rows, and `keys.u64`, what
each row is of. Rows are written before their keys, so a run that was killed leaves at most rows without keys,
which the next one cuts off; it goes on with the texts that have no key.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from distill.teacher.sentences import SentenceTeacher
from encoder.errors import ConfigurationError

__all__ = ["TeacherVectors", "VectorCache", "check_cache", "text_keys", "vectors_of"]

_SORTED_TOGETHER = 32_768  # texts
_WRITTEN_TOGETHER = 1_024  # texts: what an interruption costs at most


class TeacherVectors:
    """Vectors on disk, read when they are asked for.

    Attributes:
        dim: their dimensions.
    """

    def __init__(self, vectors: NDArray[np.float16], rows: NDArray[np.int64]) -> None:
        self._vectors, self._rows = vectors, rows
        self.dim = int(vectors.shape[1])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, texts: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of some texts, `(n, dim)` float32 of length 1."""
        return self._vectors[self._rows[texts]].astype(np.float32)

    def part(self, texts: slice) -> "TeacherVectors":
        """Some of the vectors, still on disk."""
        return TeacherVectors(self._vectors, self._rows[texts])


class VectorCache:
    """The two files of a teacher.

    Args:
        folder: where they are; it is made.
        dim: the dimensions of the vectors.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        self._folder, self._dim = folder, dim
        folder.mkdir(parents=True, exist_ok=True)
        self._vectors, self._keys = folder / "vectors.f16", folder / "keys.u64"
        for file in (self._vectors, self._keys):
            file.touch()

    @property
    def _n_rows(self) -> int:
        return self._vectors.stat().st_size // (2 * self._dim)

    def rows(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The row of each key, -1 where there is none."""
        known = np.fromfile(self._keys, np.uint64, self._keys.stat().st_size // 8)[: self._n_rows]
        if not len(known):
            return np.full(len(keys), -1, np.int64)
        order = np.argsort(known, kind="stable")
        places = np.searchsorted(known, keys, sorter=order).clip(max=len(known) - 1)
        found: NDArray[np.int64] = np.where(known[order[places]] == keys, order[places], -1)
        return found

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the files for `append`; what a killed run left half done goes.

        Raises:
            ConfigurationError: another process writes to them.
        """
        lock = FileLock(self._folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigurationError(
                f"another distillation writes to {self._folder}: wait until it is done, or name another cache"
            ) from error
        try:
            n_rows = min(self._n_rows, self._keys.stat().st_size // 8)
            for file, row_bytes in ((self._vectors, 2 * self._dim), (self._keys, 8)):
                with file.open("r+b") as out:
                    out.truncate(n_rows * row_bytes)
            yield
        finally:
            lock.release()

    def append(self, keys: NDArray[np.uint64], vectors: NDArray[np.float32]) -> None:
        """Add rows; hold `writing` meanwhile.

        Raises:
            ConfigurationError: they cannot be written, as when the disk is full.
        """
        for file, data in ((self._vectors, vectors.astype(np.float16)), (self._keys, keys)):
            try:
                with file.open("ab") as out:
                    out.write(np.ascontiguousarray(data).tobytes())
            except OSError as error:
                raise ConfigurationError(
                    f"cannot write to {file}: {error.strerror}; make room, {2 * self._dim + 8} bytes a text, "
                    "or name another cache. What is there stays, and the same command goes on from it"
                ) from error

    def open(self, keys: NDArray[np.uint64]) -> TeacherVectors:
        """The vectors of keys that are all there."""
        vectors = np.memmap(self._vectors, np.float16, "r", shape=(self._n_rows, self._dim))
        return TeacherVectors(vectors, self.rows(keys))


def check_cache(folder: Path) -> None:
    """Make the folder of a cache, and see that it can be written to, before there is work to lose.

    Raises:
        ConfigurationError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to the cache {folder}: {error.strerror}; name another one"
        ) from error


def text_keys(texts: Sequence[str]) -> NDArray[np.uint64]:
    """The digest of each text, 64 bits of BLAKE2b: among ten million texts two agree once in 300,000 runs."""
    digests = (hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.uint64)


def vectors_of(
    teacher: SentenceTeacher,
    texts: Sequence[str],
    cache: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> TeacherVectors:
    """The teacher's vectors of texts, those that the cache lacks computed and kept there.

    Args:
        teacher: the teacher.
        texts: the texts.
        cache: the folder under which the teacher has its own.
        on_progress: called now and then with the number of texts that are done, and of all.

    Raises:
        ConfigurationError: another process computes vectors of this teacher, they cannot be written, or
            the teacher gives no number for a text.
    """
    keys = text_keys(texts)
    files = VectorCache(cache / teacher.digest[:32], teacher.dim)
    if (files.rows(keys) < 0).any():
        with files.writing():
            missing = np.flatnonzero(files.rows(keys) < 0)
            done = len(texts) - len(missing)
            for rows in _in_batches(texts, missing):
                if on_progress:
                    on_progress(done, len(texts))
                vectors = teacher.embed([texts[row] for row in rows])
                given = vectors.any(axis=1)
                files.append(keys[rows[given]], vectors[given])
                if not given.all():
                    _refuse([texts[row] for row in rows[~given]])
                done += len(rows)
    if on_progress:
        on_progress(len(texts), len(texts))
    return files.open(keys)


def _refuse(texts: list[str]) -> NoReturn:
    """A fault that would become a target of the fit, and be kept for the next one, is said."""
    raise ConfigurationError(
        f"the teacher gives no number for {len(texts)} of the texts, one of them {texts[0][:80]!r}: try "
        "--precision float32 or --device cpu, or leave such texts out. The vectors of the others are kept"
    )


def _in_batches(texts: Sequence[str], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Rows whose texts are about as long, the longest first among some ten thousand."""
    for start in range(0, len(rows), _SORTED_TOGETHER):
        some = rows[start : start + _SORTED_TOGETHER]
        some = some[np.argsort([-len(texts[row]) for row in some], kind="stable")]
        for first in range(0, len(some), _WRITTEN_TOGETHER):
            yield some[first : first + _WRITTEN_TOGETHER]
