"""A disk cache of the teacher's vectors of texts, by the digest of each text.

Every teacher has its own folder with two append-only files: `vectors.f16` holds the rows and `keys.u64` their
texts' digests. Rows are written before their keys. A killed run therefore leaves at most rows without keys,
which the next run truncates before it continues with the texts that have no key.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from distill.teacher.sentences import SentenceTeacher
from encoder.errors import ConfigurationError

__all__ = ["TeacherVectors", "VectorCache", "check_cache", "embed_cached", "text_keys"]

_SORT_WINDOW = 32_768  # texts
_WRITE_BATCH = 1_024  # texts: the most that an interruption loses


class TeacherVectors:
    """Vectors on disk, read on access.

    Attributes:
        dim: the dimensions of a vector.
    """

    def __init__(self, vectors: NDArray[np.float16], rows: NDArray[np.int64]) -> None:
        self._vectors, self._rows = vectors, rows
        self.dim = int(vectors.shape[1])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, texts: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the vectors of some texts, `(n, dim)` float32 of length 1."""
        return self._vectors[self._rows[texts]].astype(np.float32)

    def part(self, texts: slice) -> "TeacherVectors":
        """Return a view of some of the vectors."""
        return TeacherVectors(self._vectors, self._rows[texts])


class VectorCache:
    """The two files of a teacher.

    Args:
        folder: the teacher's folder; created if missing.
        dim: the dimensions of a vector.
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
        """Return the row of each key, -1 if it is not cached."""
        known = np.fromfile(self._keys, np.uint64, self._keys.stat().st_size // 8)[: self._n_rows]
        if not len(known):
            return np.full(len(keys), -1, np.int64)
        order = np.argsort(known, kind="stable")
        nearest = order[np.searchsorted(known, keys, sorter=order).clip(max=len(known) - 1)]
        found: NDArray[np.int64] = np.where(known[nearest] == keys, nearest, -1)
        return found

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the files for `append`, and truncate what a killed run left half written.

        Raises:
            ConfigurationError: another process is writing to them.
        """
        lock = FileLock(self._folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigurationError(
                f"another distillation is writing to {self._folder}: wait for it, or set another `cache`"
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
        """Append rows; only inside `writing`.

        Raises:
            ConfigurationError: the files cannot be written, for example because the disk is full.
        """
        for file, data in ((self._vectors, vectors.astype(np.float16)), (self._keys, keys)):
            try:
                with file.open("ab") as out:
                    out.write(np.ascontiguousarray(data).tobytes())
            except OSError as error:
                raise ConfigurationError(
                    f"cannot write to {file}: {error.strerror}; free {2 * self._dim + 8} bytes per text, or "
                    "set another `cache`. The vectors so far are kept, and the next run continues from them"
                ) from error

    def open(self, keys: NDArray[np.uint64]) -> TeacherVectors:
        """Open the vectors of keys that are all cached."""
        vectors = np.memmap(self._vectors, np.float16, "r", shape=(self._n_rows, self._dim))
        return TeacherVectors(vectors, self.rows(keys))


def check_cache(folder: Path) -> None:
    """Create the folder of a cache and check that it is writable, before there is work to lose.

    Raises:
        ConfigurationError: it is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to the cache {folder}: {error.strerror}; set another `cache`"
        ) from error


def text_keys(texts: Sequence[str]) -> NDArray[np.uint64]:
    """Digest each text to 64 bits of BLAKE2b: ten million texts have a collision once in 300,000 runs."""
    digests = (hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.uint64)


def embed_cached(
    teacher: SentenceTeacher,
    texts: Sequence[str],
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
) -> TeacherVectors:
    """Return the teacher's vectors of texts; compute and store those that the cache lacks.

    Args:
        teacher: the teacher.
        texts: the texts.
        cache: the parent folder of all teachers' folders.
        progress: called after each batch with the number of texts done and the total.

    Raises:
        ConfigurationError: another process is computing vectors of this teacher, the cache cannot be written,
            or the teacher returns NaN for a text.
    """
    keys = text_keys(texts)
    files = VectorCache(cache / teacher.digest[:32], teacher.dim)
    if (files.rows(keys) < 0).any():
        with files.writing():
            missing = np.flatnonzero(files.rows(keys) < 0)
            done = len(texts) - len(missing)
            for rows in _in_batches(texts, missing):
                if progress:
                    progress(done, len(texts))
                vectors = teacher.embed([texts[row] for row in rows])
                valid = vectors.any(axis=1)
                files.append(keys[rows[valid]], vectors[valid])
                if not valid.all():
                    raise _nan_error([texts[row] for row in rows[~valid]])
                done += len(rows)
    if progress:
        progress(len(texts), len(texts))
    return files.open(keys)


def _nan_error(texts: list[str]) -> ConfigurationError:
    return ConfigurationError(
        f"the teacher returns NaN for {len(texts)} texts, such as {texts[0][:80]!r}: set `precision` to "
        "float32 or `device` to cpu, or leave such texts out. The vectors of the others are kept"
    )


def _in_batches(texts: Sequence[str], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield rows with texts of similar length, sorted longest first within a window."""
    for start in range(0, len(rows), _SORT_WINDOW):
        some = rows[start : start + _SORT_WINDOW]
        some = some[np.argsort([-len(texts[row]) for row in some], kind="stable")]
        for first in range(0, len(some), _WRITE_BATCH):
            yield some[first : first + _WRITE_BATCH]
