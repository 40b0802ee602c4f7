"""Rows of Kafka partitions in a table: each commit holds rows, and the offsets up to which the table has all.

A commit is made from a look at the table. Rows that the table has by then are dropped, and the commit fails
if somebody else has moved the offsets since. So a record is in the table once, however many workers believe
that its partition is theirs, and whether or not the reply to a commit was lost.
"""

import logging
import time
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from encoder.errors import ConfigurationError, StoreUnavailable, TransientError
from pipelines.sinks.input_claim import InputClaim
from pipelines.sinks.offset_rows import OffsetBatch, OffsetRows, rows_behind
from pipelines.sinks.tables.columns import as_stored, missing_columns
from pipelines.sinks.tables.partition_rows import PartitionRows
from pipelines.sinks.tables.port import ATTEMPTS, Conflict, Offset, Table, TableState, pause

__all__ = ["OffsetTable"]

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 1.0  # partitions that come together are looked up together


@dataclass(frozen=True)
class _Waiting:
    """Rows of a partition on their way into the table."""

    owner: PartitionRows
    key: str
    topic: str
    epoch: int
    parts: Sequence[OffsetBatch]

    @property
    def last(self) -> int:
        return int(self.parts[-1].offsets[-1])


class OffsetTable(OffsetRows[PartitionRows]):
    """Collects records by partition, and commits those of all partitions together, in the background.

    Args:
        table: the table, which exists.
        seconds: how long a record may wait for a commit.
        file_bytes: of Arrow data in a data file, at most.
        name_of: gives the topic and the partition in it for a partition number of the caller's.
        max_bytes: commits are made early to keep less than this in memory.
        waits: whether records wait for `confirm` before a commit may have them; until then, `take_back` drops
            them.
        claim: gives the topic of a name as this table knows it; None if the brokers cannot tell.
        check: is called with a topic before rows of it are committed, and raises where the topic is another.
        clock: gives seconds.
    """

    def __init__(
        self,
        table: Table,
        *,
        seconds: float,
        name_of: Callable[[int], tuple[str, int]],
        file_bytes: int = 256 << 20,
        max_bytes: int = 1 << 30,
        waits: bool = False,
        claim: Callable[[str], InputClaim | None] = lambda _topic: None,
        check: Callable[[str], None] = lambda _topic: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(max_bytes=max_bytes, waits=waits)
        self.uri = table.uri
        self._table = table
        self._seconds = seconds
        self._file_bytes = file_bytes
        self._name_of = name_of
        self._claim = claim
        self._check = check
        self._clock = clock
        self._commit: Future[dict[int, int]] | None = None
        self._committing: dict[int, _Waiting] = {}
        self._retry_at = 0.0
        self._looked: tuple[float, TableState] | None = None
        self._pool = ThreadPoolExecutor(1, "commit")

    def begin(self, partition: int, offset: int, epoch: int = 0) -> int:
        """Take over a partition; gives the offset to begin with, after the last row in the table.

        Args:
            partition: its number.
            offset: the committed offset; everything before it is written.
            epoch: how often offsets came again, as far as the caller knows; the table may know more.

        Raises:
            StoreUnavailable: the catalog or the storage does not answer.
        """
        known = self._recent().offset(self._key(partition))
        if known is not None and known.epoch >= epoch:
            offset, epoch = max(offset, known.next), known.epoch
        self._partitions[partition] = PartitionRows(offset, epoch, offset)
        return offset

    def _recent(self) -> TableState:
        """The table as it was a moment ago; what was committed since is found before the next commit."""
        now = time.monotonic()
        if self._looked is None or now - self._looked[0] > _LOOK_SECONDS:
            self._looked = now, self._look()
        return self._looked[1]

    def _look(self) -> TableState:
        if (state := self._table.look()) is None:
            raise ConfigurationError(
                f"there is no table {self.uri} any more: a worker that starts creates it"
            )
        return state

    def _key(self, partition: int) -> str:
        topic, number = self._name_of(partition)
        claim = self._claim(topic)
        return f"{topic}/{number}" + (claim.suffix if claim else "")

    def _confirm(self, mine: PartitionRows) -> None:
        mine.add(mine.confirm(), self._clock())

    @property
    def full(self) -> list[int]:
        """The partitions to pause."""
        return list(self._partitions) if self.n_bytes >= self._max_bytes else []

    def tick(self, close: Container[int] = ()) -> None:
        """Start a commit when one is due, and record what was committed.

        Args:
            close: partitions whose rows are committed even if none is due.

        Raises:
            ConfigurationError: the catalog or the storage refuses.
            TransientError: another worker has gone on with a partition where its log was cut.
        """
        if self._commit is not None and self._commit.done():
            commit, self._commit = self._commit, None
            self._finish(commit)
        now = self._clock()
        if self._commit is not None or now < self._retry_at:
            return
        waiting = {number: one for number, one in self._partitions.items() if one.parts}
        is_due = any(number in close or now - one.since >= self._seconds for number, one in waiting.items())
        if waiting and (is_due or self.n_bytes >= self._max_bytes // 2):
            self._committing = {number: self._waiting(number, one) for number, one in waiting.items()}
            self._commit = self._pool.submit(self._write, self._committing)

    def _waiting(self, number: int, mine: PartitionRows) -> _Waiting:
        return _Waiting(mine, self._key(number), self._name_of(number)[0], mine.epoch, tuple(mine.parts))

    def _finish(self, commit: "Future[dict[int, int]]") -> None:
        try:
            ends = commit.result()
        except StoreUnavailable as error:
            self._retry_at = self._clock() + _RETRY_SECONDS
            _log.warning("%s: not committed, retrying: %s", self.uri, error)
            return
        self._looked = None
        for number, end in ends.items():
            mine = self._committing[number].owner  # it may have left since, and even come back
            mine.drop(end, self._clock())

    def flush(self, partitions: Collection[int], seconds: float, *, is_cut: bool = False) -> bool:
        """Commit all confirmed records of some partitions; gives whether that was done in time."""
        del is_cut  # no row waits for another one
        deadline = time.monotonic() + seconds
        while True:
            self.tick(partitions)
            left = deadline - time.monotonic()
            has_rows = any((one := self._partitions.get(p)) is not None and one.parts for p in partitions)
            if not has_rows or left <= 0:
                return not has_rows
            wait([self._commit or Future()], min(left, 0.1))

    def close(self) -> None:
        """Stop the thread without waiting for it."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _write(self, waiting: Mapping[int, _Waiting]) -> dict[int, int]:
        """Commit rows; gives for each partition the offset before which the table has all."""
        files: Sequence[Any] = ()
        firsts: list[int] = []  # the first offset in the files of each partition
        for _ in range(ATTEMPTS):
            state = self._look()
            ends = {number: _known_end(state, one, self.uri) for number, one in waiting.items()}
            rest = {number: rows_behind(one.parts, ends[number]) for number, one in waiting.items()}
            wanted = [int(parts[0].offsets[0]) if parts else -1 for parts in rest.values()]
            if any(rest.values()):
                try:
                    tables = _tables(part.batch for parts in rest.values() for part in parts)
                    if self._adds_columns(state, tables):
                        continue
                    if firsts != wanted:  # files with other rows stay where they are: a reply may have lied
                        rows = pa.concat_tables([as_stored(table, state.schema) for table in tables])
                        files, firsts = state.write(rows, self._file_bytes), wanted
                    left = [one for number, one in waiting.items() if rest[number]]
                    for topic in {one.topic for one in left}:
                        self._check(topic)
                    state.append(files, {one.key: Offset(one.epoch, one.last + 1) for one in left})
                except Conflict as error:
                    _log.info("%s: somebody else has committed, looking again: %s", self.uri, error)
                    pause()
                    continue
            return {number: max(ends[number], one.last + 1) for number, one in waiting.items()}
        raise StoreUnavailable(f"{self.uri}: {ATTEMPTS} commits conflicted with those of others")

    def _adds_columns(self, state: TableState, tables: Iterable[pa.Table]) -> bool:
        """Add the columns that the table lacks, such as those of a new head; whether there were any."""
        wanted = pa.unify_schemas([self._table.stored(table.schema) for table in tables])
        new = missing_columns(state.schema, wanted, self.uri)
        if new.names:
            _log.info("%s: adding columns %s", self.uri, ", ".join(new.names))
            state.add_columns(new)
        return bool(new.names)


def _known_end(state: TableState, one: _Waiting, uri: str) -> int:
    """The offset before which the table has all rows of a partition."""
    known = state.offset(one.key)
    if known is None or known.epoch < one.epoch:
        return 0
    if known.epoch > one.epoch:
        raise TransientError(
            f"another worker has read {one.key} into {uri} after its log was cut: restart the worker"
        )
    if known.next > (first := int(one.parts[0].offsets[0])):
        _log.warning("%s has %s from offset %d already: continuing at %d", uri, one.key, first, known.next)
    return known.next


def _tables(batches: Iterable[pa.RecordBatch]) -> list[pa.Table]:
    """Batches as tables; those of another model version may have other columns."""
    groups: list[list[pa.RecordBatch]] = []
    for batch in batches:
        if not groups or groups[-1][0].schema != batch.schema:
            groups.append([])
        groups[-1].append(batch)
    return [pa.Table.from_batches(group) for group in groups]
