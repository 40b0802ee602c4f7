"""Prune: mark what no version needs, wait for the grace, delete.

Nobody locks the store, so a publisher may be about to name a blob that looks unused. Three rules hold:

- a blob younger than the grace is left alone, so a publisher's new blobs are;
- an unused blob is first only marked, with the time, and deleted by a run that comes a grace later;
- a publisher that finds a mark on a blob it needs removes the mark and writes the blob anew (`claim_blob`).

What remains is one request: a publisher that claims a blob between prune's last look and its delete.

A version goes only when it was replaced longer ago than the grace, from the lowest number up, so that the
numbers that stay have no gap; its blobs stay for another grace, for those who are reading them. The highest
number always stays: it is what keeps numbers from being given twice.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from encoder.errors import ConfigurationError, CorruptVersion, NotInStore
from encoder.store.blobs import blob_key, mark_key
from encoder.store.manifest import decode, key_of, number_of
from encoder.store.objects import ObjectInfo, Objects

__all__ = ["Plan", "Pruned", "plan", "prune"]


@dataclass(frozen=True)
class Pruned:
    """What a run of prune did, or would do.

    Attributes:
        versions: the numbers of the versions that were removed.
        marked: sha256 of the blobs that the next run after the grace will delete.
        deleted: sha256 of the blobs that were deleted.
        freed: the size of the deleted blobs, in bytes.
        litter: the keys that stopped processes had left behind.
    """

    versions: list[int]
    marked: list[str]
    deleted: list[str]
    freed: int
    litter: list[str]


@dataclass(frozen=True)
class Plan:
    """What to do with each blob, by sha256."""

    mark: list[str]
    unmark: list[str]
    delete: list[str]


def plan(
    blobs: dict[str, datetime], marks: dict[str, datetime], used: set[str], *, now: datetime, grace: timedelta
) -> Plan:
    """Decide about blobs, without I/O.

    Args:
        blobs: when each blob was written.
        marks: since when each marked blob is unused.
        used: the blobs that a remaining version names.
        now: the time.
        grace: how old a blob and a mark must be.
    """
    idle = {sha for sha, written in blobs.items() if sha not in used and written <= now - grace}
    return Plan(
        mark=sorted(idle - marks.keys()),
        unmark=sorted(sha for sha in marks if sha in used or sha not in blobs),
        delete=sorted(sha for sha in idle & marks.keys() if marks[sha] <= now - grace),
    )


def removable(manifests: list[ObjectInfo], *, keep: int | None, now: datetime, grace: timedelta) -> list[int]:
    """The numbers to remove, rising: before the last `keep`, and replaced longer ago than the grace."""
    numbers: list[int] = []
    for info, successor in pairwise(manifests):
        if keep is None or len(manifests) - len(numbers) <= keep or successor.modified > now - grace:
            break
        numbers.append(_number(info))
    return numbers


def prune(objects: Objects, *, keep: int | None, grace: timedelta, now: datetime, dry_run: bool) -> Pruned:
    """Mark, remove and delete; `ModelStore.prune` says what and when."""
    if keep is not None and keep < 1:
        raise ConfigurationError(
            f"cannot keep {keep} versions: keep at least 1, so that no number is given twice"
        )
    if grace < timedelta(0):
        raise ConfigurationError(f"the grace must not be negative: {grace}")
    # Manifests last: what a publisher commits meanwhile counts as used.
    blobs = {info.key.rpartition("/")[2]: info for info in objects.scan("blobs")}
    marks = _marks(objects)
    manifests = [info for info in objects.scan("v") if number_of(info.key) is not None]
    removed = removable(manifests, keep=keep, now=now, grace=grace)
    used = _used(objects, [_number(info) for info in manifests[len(removed) :]])
    todo = plan({sha: info.modified for sha, info in blobs.items()}, marks, used, now=now, grace=grace)
    litter = [
        info.key
        for folder in ("probe", "_staging")
        for info in objects.scan(folder)
        if info.modified <= now - grace
    ]
    if dry_run:
        freed = sum(blobs[sha].size for sha in todo.delete)
        return Pruned(removed, todo.mark, todo.delete, freed, litter)
    for number in removed:
        objects.delete(key_of(number))
    for key in [*map(mark_key, todo.unmark), *litter]:
        objects.delete(key)
    for sha in todo.mark:
        objects.create(mark_key(sha), now.isoformat().encode())
    deleted = [sha for sha in todo.delete if _delete(objects, sha)]
    return Pruned(removed, todo.mark, deleted, sum(blobs[sha].size for sha in deleted), litter)


def _number(info: ObjectInfo) -> int:
    number = number_of(info.key)
    if number is None:
        raise CorruptVersion(f"{info.key} is no manifest's key")
    return number


def _used(objects: Objects, numbers: list[int]) -> set[str]:
    used: set[str] = set()
    for number in numbers:
        key = key_of(number)
        used.update(file.sha256 for file in decode(objects.read(key), f"{objects.uri}/{key}").files)
    return used


def _marks(objects: Objects) -> dict[str, datetime]:
    marks = {}
    for info in objects.scan("marks"):
        try:
            marks[info.key.rpartition("/")[2]] = datetime.fromisoformat(objects.read(info.key).decode())
        except NotInStore:  # a publisher has just claimed the blob
            continue
        except ValueError as error:
            raise CorruptVersion(f"{objects.uri}/{info.key} holds no time: remove it") from error
    return marks


def _delete(objects: Objects, sha: str) -> bool:
    """Delete a blob unless it was claimed since we looked; the mark goes last, to make up for a stop."""
    if objects.stat(mark_key(sha)) is None:
        return False
    objects.delete(blob_key(sha))
    objects.delete(mark_key(sha))
    return True
