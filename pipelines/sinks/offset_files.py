"""Parquet files of ranges of offsets: every record of a partition is in exactly one file.

    payments/p3/00000000000000120000.parquet    begins with the record at offset 120,000 of partition 3

A file's name is the offset of its first record, its metadata holds the offset of its last one, and it is
created, never replaced. A worker begins after the last file. If two workers believe that they own a
partition, both try to create the same name; one succeeds, and the other continues after that file.

Where offsets come again, files form another series, and names end with what tells it from the others:

    payments/p3/00000000000000000000-5f0c2e9ab41d.parquet     another topic of the same name was accepted
    payments/p3/00000000000000000000-1.parquet                 the log was cut below what was read, once
"""

import logging
import re
import time
from collections.abc import Callable, Collection, Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial

from encoder.errors import TransientError
from encoder.store.objects import Objects
from pipelines.sinks.input_claim import InputClaim
from pipelines.sinks.memory import FileMemory
from pipelines.sinks.offset_ranges import FOLDER, OffsetRanges, RangeIsLonger, file_writer
from pipelines.sinks.offset_rows import OffsetBatch, OffsetRows
from pipelines.sinks.open_files import OpenFile, Partition, Rotation, ranges
from pipelines.sinks.parquet import file_metadata
from pipelines.sinks.tables.partitioning import PartitionField

__all__ = ["OffsetFiles"]

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_END = "millstream.end"
_DIGITS = 20  # of an offset in a name
_CLAIMED = -1  # stands for the number of a range of offsets, of a file whose range was claimed before
_NAME = re.compile(r"(?P<first>\d{20})(?P<topic>-[0-9a-f]{12})?(?:-(?P<epoch>\d{1,9}))?\.(?:parquet|json)")


class OffsetFiles(OffsetRows[Partition]):
    """Collects records by partition and writes them in the background, one file of a partition at a time.

    Args:
        objects: the folder or bucket.
        rotation: when a file is full.
        metadata: written into every file.
        name_of: gives the topic and the partition in it for a partition number of the caller's.
        partitions: by what rows are kept apart, in folders (`pipelines.sinks.offset_ranges`); without any,
            each file holds all rows of its offsets.
        max_bytes: files are written early to keep less than this in memory.
        waits: whether records wait for `confirm` before a file may have them; until then, `take_back` drops
            them.
        claim: gives the topic of a name as this folder knows it; None if the brokers cannot tell.
        check: is called with a topic before a file of it is written, and raises where the topic is another.
        clock: gives seconds.
    """

    def __init__(
        self,
        objects: Objects,
        rotation: Rotation,
        metadata: dict[str, str],
        name_of: Callable[[int], tuple[str, int]],
        *,
        partitions: Sequence[PartitionField] = (),
        max_bytes: int = 1 << 30,
        waits: bool = False,
        claim: Callable[[str], InputClaim | None] = lambda _topic: None,
        check: Callable[[str], None] = lambda _topic: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(max_bytes=max_bytes, waits=waits)
        self.uri = objects.uri
        self._objects = objects
        self._ranges = OffsetRanges(objects, partitions) if partitions else None
        self._rotation = rotation
        self._metadata = metadata
        self._name_of = name_of
        self._claim = claim
        self._check = check
        self._clock = clock
        self._pool = ThreadPoolExecutor(2, "upload")
        self._memory = FileMemory()

    def begin(self, partition: int, offset: int, epoch: int = 0) -> int:
        """Take over a partition; gives the offset to begin with, after the last file.

        Args:
            partition: its number.
            offset: the committed offset; everything before it is written.
            epoch: how often offsets came again, as far as the caller knows; the files may know more.

        Raises:
            StoreUnavailable: the storage does not answer.
        """
        claim = self._claim(self._name_of(partition)[0])
        last: dict[int, str] = {}  # by epoch
        for info in self._objects.scan(self._folder(partition)):
            name = _NAME.fullmatch(info.key.rpartition("/")[2])
            if name and (name["topic"] or "") == (claim.suffix if claim else ""):
                last[int(name["epoch"] or 0)] = info.key
        epoch = max(epoch, *last, 0)
        reach = None
        if epoch in last:
            end, first = self._end_of(last[epoch]), int(last[epoch].rpartition("/")[2][:_DIGITS])
            if self._ranges is not None and offset <= first:  # perhaps not all of its files are there
                offset, reach = first, end
            else:
                offset = max(offset, end + 1)
        self._partitions[partition] = Partition(offset, epoch, offset, reach=reach)
        if reach is not None:
            self._partitions[partition].files = [OpenFile(_CLAIMED, self._clock(), claimed=offset)]
        return offset

    def _confirm(self, mine: Partition) -> None:
        for part in mine.confirm():
            if (rest := mine.claimed(part)) is not None:
                self._add(mine, rest)

    def _add(self, mine: Partition, added: OffsetBatch) -> None:
        for number, first, last in ranges(added.offsets, self._rotation.rows):
            batch = added.batch.slice(first, last - first)
            part = OffsetBatch(added.offsets[first:last], batch)
            open_ = mine.files[-1] if mine.files else None
            fits = (
                open_ is not None
                and open_.range == number
                and open_.n_bytes < self._rotation.n_bytes
                and open_.parts[0].batch.schema == batch.schema
                and open_.claimed is None
                and not (mine.upload is not None and len(mine.files) == 1)  # it is being written
            )
            if open_ is None or not fits:
                open_ = OpenFile(number, self._clock())
                mine.files.append(open_)
            open_.add(part)

    @property
    def full(self) -> list[int]:
        """The partitions to pause."""
        if self.n_bytes >= self._max_bytes:
            return [number for number, one in self._partitions.items() if not one.waits]
        return [number for number, one in self._partitions.items() if len(one.files) > 2]

    def tick(self, close: Container[int] = ()) -> None:
        """Start to write files that are full, and record those that are written.

        Args:
            close: partitions whose files are written even if they are not full.

        Raises:
            ConfigurationError: the storage refuses.
        """
        now = self._clock()
        crowded = self.n_bytes >= self._max_bytes // 2
        for number, mine in self._partitions.items():
            if mine.upload is not None and mine.upload.done():
                self._finish(number, mine, mine.upload)
            if mine.upload is None and mine.files and now >= mine.retry_at and not mine.waits:
                file = mine.files[0]
                if number in close or crowded or len(mine.files) > 1 or self._is_full(file, now):
                    mine.upload = self._pool.submit(self._write, number, mine.epoch, file)

    def _is_full(self, file: OpenFile, now: float) -> bool:
        size = self._rotation.rows
        return (
            file.claimed is not None
            or (file.last + 1) % size == 0
            or file.n_bytes >= self._rotation.n_bytes
            or now - file.since >= self._rotation.seconds
        )

    def _finish(self, number: int, mine: Partition, upload: "Future[int]") -> None:
        mine.upload = None
        try:
            end = upload.result()
        except TransientError as error:
            mine.retry_at = self._clock() + _RETRY_SECONDS
            _log.warning("%s: not written, retrying: %s", self._folder(number), error)
            return
        except RangeIsLonger as longer:  # another worker has claimed it
            mine.join(longer.end)
            return
        mine.wrote(end)  # usually the first file; if another worker was first, what that one has written

    def flush(self, partitions: Collection[int], seconds: float, *, is_cut: bool = False) -> bool:
        """Write all confirmed records of some partitions.

        Args:
            partitions: their numbers.
            seconds: how long it may take.
            is_cut: whether their logs have lost what was to come.

        Returns:
            Whether all of them are written that can be: a claimed range may need more.
        """
        deadline = time.monotonic() + seconds
        for partition in partitions:
            if is_cut and (one := self._partitions.get(partition)) is not None:
                one.reached()
                for file in one.files:
                    file.is_cut = True
        while True:
            self.tick(partitions)
            mine = [one for p in partitions if (one := self._partitions.get(p)) is not None and one.files]
            waiting = [one for one in mine if not one.waits]  # records of a claimed range are read again
            left = deadline - time.monotonic()
            if not waiting or left <= 0:
                return not waiting
            wait([one.upload for one in waiting if one.upload is not None] or [Future()], min(left, 0.1))

    def close(self) -> None:
        """Stop the threads without waiting for them."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _write(self, partition: int, epoch: int, file: OpenFile) -> int:
        """Write a file; gives the last offset of the file with that name, whoever has written it."""
        topic, number = self._name_of(partition)
        claim = self._claim(topic)
        source = {"millstream.topic": topic, "millstream.partition": str(number)}
        source |= (claim.metadata if claim else {}) | ({"millstream.epoch": str(epoch)} if epoch else {})

        def metadata(end: int) -> dict[str, str]:
            return {**self._metadata, **source, "millstream.start": str(file.first), _END: str(end)}

        series = (claim.suffix if claim else "") + (f"-{epoch}" if epoch else "")
        key = f"{self._folder(partition)}/{file.first:020d}{series}"
        if self._ranges is not None:
            return self._ranges.write(
                f"{key}.json", file, metadata, self._memory, partial(self._check, topic)
            )
        key, write = f"{key}.parquet", file_writer(file.table(), metadata(file.last))
        with self._memory.file(file.n_bytes, write) as data:
            self._check(topic)
            if self._objects.create(key, data):
                return file.last
        end = self._end_of(key)
        if end != file.last:  # equal if only the reply to our own request was lost
            _log.warning("%s exists already, up to offset %d: continuing after it", key, end)
        return end

    def _folder(self, partition: int) -> str:
        topic, number = self._name_of(partition)
        return f"{topic}/p{number}" if self._ranges is None else f"{FOLDER}/{topic}/p{number}"

    def _end_of(self, key: str) -> int:
        if self._ranges is not None:
            return self._ranges.end_of(key)
        return int(file_metadata(self._objects, key)[_END])
