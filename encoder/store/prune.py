"""Prune: mark blobs that no version needs, wait for a grace period, then delete them.

Nobody locks the store, so a publisher may be about to name a blob that looks unused. Three rules protect it:

- prune leaves a blob alone that is younger than the grace period, such as a publisher's new blobs;
- prune first only marks an unused blob with the time; a run at least a grace period later deletes it;
- a publisher that needs a marked blob removes the mark and writes the blob again (`claim_blob`).

One race remains: a publisher claims a blob between prune's last check of the mark and its delete request.

Prune removes a version only if its successor is older than the grace period, from the lowest number up, so
that the remaining numbers have no gap. Its blobs stay for another grace period, for those who still read
them. The highest number always stays, or it would be given again. With trust, these rules hold for versions
alone: what no trusted key signed stays where it is, with its blobs, and pushes no version out.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from encoder.errors import ConfigurationError, CorruptVersion, NotInStore
from encoder.store.blobs import blob_key, mark_key
from encoder.store.manifest import key_of, number_of
from encoder.store.objects import ObjectInfo, Objects
from encoder.store.versions import Versions

__all__ = ["Plan", "Pruned", "plan", "prune"]


@dataclass(frozen=True)
class Pruned:
    """What a run of prune did, or would do.

    Attributes:
        versions: the numbers of the removed versions.
        marked: sha256 of the blobs that a run after the grace period will delete.
        deleted: sha256 of the deleted blobs.
        freed: the size of the deleted blobs, in bytes.
        litter: the keys of removed leftovers of killed processes.
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
    """Decide what to do with each blob, without I/O.

    Args:
        blobs: when each blob was written.
        marks: when each marked blob was found unused.
        used: the blobs that the remaining versions name.
        now: the current time.
        grace: the age from which a blob is marked and a marked blob deleted.
    """
    idle = {sha for sha, written in blobs.items() if sha not in used and written <= now - grace}
    return Plan(
        mark=sorted(idle - marks.keys()),
        unmark=sorted(sha for sha in marks if sha in used or sha not in blobs),
        delete=sorted(sha for sha in idle & marks.keys() if marks[sha] <= now - grace),
    )


def removable(manifests: list[ObjectInfo], *, keep: int | None, now: datetime, grace: timedelta) -> list[int]:
    """The numbers to remove, ascending: before the last `keep`, with a successor older than the grace."""
    numbers: list[int] = []
    for info, successor in pairwise(manifests):
        if keep is None or len(manifests) - len(numbers) <= keep or successor.modified > now - grace:
            break
        numbers.append(_number(info))
    return numbers


def prune(
    objects: Objects,
    versions: Versions,
    *,
    keep: int | None,
    grace: timedelta,
    now: datetime,
    dry_run: bool,
) -> Pruned:
    """Mark, remove and delete; `ModelStore.prune` documents the arguments."""
    if keep is not None and keep < 1:
        raise ConfigurationError(
            f"cannot keep {keep} versions: keep at least 1, so that no number is used twice"
        )
    if grace < timedelta(0):
        raise ConfigurationError(f"the grace must not be negative: {grace}")
    # Manifests last, so that blobs count as used that a publisher commits in the meantime.
    blobs = {info.key.rpartition("/")[2]: info for info in objects.scan("blobs")}
    marks = _marks(objects)
    found = [info for info in objects.scan("v") if (n := number_of(info.key)) and info.key == key_of(n)]
    refused = {} if versions.trust is None else versions.refused()
    manifests = [info for info in found if _number(info) not in refused]
    removed = removable(manifests, keep=keep, now=now, grace=grace)
    used = _used(objects, [_number(info) for info in manifests[len(removed) :]])
    for number in refused:
        with suppress(CorruptVersion):  # nobody can read it, so it needs no blob
            used |= _used(objects, [number])
    todo = plan({sha: info.modified for sha, info in blobs.items()}, marks, used, now=now, grace=grace)
    litter = [
        info.key
        for folder in ("_probe", "probe", "_staging")  # an earlier release wrote to `probe`
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
        raise CorruptVersion(f"{info.key} is not the key of a manifest")
    return number


def _used(objects: Objects, numbers: list[int]) -> set[str]:
    plain = Versions(objects)  # a version of somebody else's key keeps its blobs
    return {file.sha256 for number in numbers for file in plain.read(number).files}


def _marks(objects: Objects) -> dict[str, datetime]:
    marks = {}
    for info in objects.scan("marks"):
        try:
            marks[info.key.rpartition("/")[2]] = datetime.fromisoformat(objects.read(info.key).decode())
        except NotInStore:  # a publisher just claimed the blob
            continue
        except ValueError as error:
            raise CorruptVersion(f"{objects.uri}/{info.key} does not hold a time: remove it") from error
    return marks


def _delete(objects: Objects, sha: str) -> bool:
    """Delete a blob unless a publisher just claimed it; its mark last, so that a killed run is repeated."""
    if objects.stat(mark_key(sha)) is None:
        return False
    objects.delete(blob_key(sha))
    objects.delete(mark_key(sha))
    return True
