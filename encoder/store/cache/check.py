"""What is wrong in this machine's cache: who else can change it, and which files are damaged."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from encoder.errors import CorruptVersion
from encoder.kernels.compiled_files import damaged_code
from encoder.store.cache.files import damage, files_in, lock_of, model_folders
from encoder.store.local import FolderObjects
from encoder.store.manifest import File, Manifest, digest_of
from encoder.store.store import ModelStore
from encoder.user_cache import exposure

__all__ = ["CacheReport", "check_cache"]


@dataclass(frozen=True)
class CacheReport:
    """What lies in a cache.

    Attributes:
        versions: the number of versions.
        size: their bytes.
        problems: what is wrong, one line for each.
    """

    versions: int
    size: int
    problems: list[str]


def check_cache(root: Path) -> CacheReport:
    """Look at a whole cache: models, manifests and compiled code; nothing is read that others can change."""
    if found := exposure(root, root):
        return CacheReport(0, 0, [found])
    folders = model_folders(root)
    manifests: dict[str, Manifest] = {}
    problems = list(_read_manifests(root, manifests))
    for folder in folders:
        manifest = manifests.get(f"sha256:{folder.name}")
        problem = damage(folder, manifest) if manifest else _difference(folder)
        if problem:
            problems.append(f"{problem}: it is fetched again when it is used")
    problems += [f"{path} was left by a process that was killed: remove it" for path in _leftovers(root)]
    problems += [f"{path} is damaged: it is compiled again" for path in damaged_code(root / "kernels")]
    size = sum(path.lstat().st_size for folder in folders for _, path in files_in(folder))
    return CacheReport(len(folders), size, problems)


def _read_manifests(root: Path, found: dict[str, Manifest]) -> Iterator[str]:
    """Collect the manifests of the versions that were used here by digest; yield those that are damaged."""
    for folder in sorted((root / "stores").glob("*")):
        store = ModelStore(FolderObjects(folder))
        for number in store.versions():
            try:
                manifest = store.manifest(number)
            except CorruptVersion as error:
                yield f"{error}: remove {folder}"
            else:
                found[manifest.digest] = manifest


def _difference(folder: Path) -> str | None:
    """Whether the files of a version without a manifest make another digest than its folder's name."""
    files = []
    for name, path in files_in(folder):
        if path.is_symlink() or not path.is_file():
            return f"{path} is not a regular file"
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        files.append(File(name, digest, path.stat().st_size))
    same = digest_of(files) == f"sha256:{folder.name}"
    return None if same else f"{folder} does not hold the files of its digest"


def _leftovers(root: Path) -> Iterator[Path]:
    """What fetches and removals have left that run no more."""
    for path in sorted((root / "models").glob(".*")):
        digest = path.name[1:].partition("-")[0]
        try:
            with FileLock(lock_of(root, path.with_name(digest)), timeout=0):
                yield path
        except (Timeout, OSError):  # it runs, or the cache cannot be written
            continue
