"""Parquet files of ranges of offsets: every record of a partition is in exactly one file.

    payments/p3/00000000000000120000.parquet    begins with the record at offset 120,000 of partition 3

A file's name is the offset of its first record, its metadata holds the offset of its last one, and it is
created, never replaced. A worker begins after the last file. If two workers believe that they own a
partition, both try to create the same name; one succeeds, and the other continues after that file.
"""

import logging
import time
from collections.abc import Callable, Collection, Container, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoder.errors import TransientError
from encoder.store.objects import Objects
from pipelines.sinks.memory import FileMemory
from pipelines.sinks.open_files import OffsetBatch, OpenFile, Partition, Rotation, ranges
from pipelines.sinks.parquet import file_metadata, parquet_writer

__all__ = ["OffsetFiles"]

_log = logging.getLogger(__name__)
_ROW_GROUP = 16_384
_RETRY_SECONDS = 1.0
_END = "millstream.end"


class OffsetFiles:
    """Collects records by partition and writes them in the background, one file of a partition at a time.

    Args:
        objects: the folder or bucket.
        rotation: when a file is full.
        metadata: written into every file.
        name_of: gives the topic and the partition in it for a partition number of the caller's.
        max_bytes: files are written early to keep less than this in memory.
        clock: gives seconds.
    """

    def __init__(
        self,
        objects: Objects,
        rotation: Rotation,
        metadata: dict[str, str],
        name_of: Callable[[int], tuple[str, int]],
        *,
        max_bytes: int = 1 << 30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.uri = objects.uri
        self._objects = objects
        self._rotation = rotation
        self._metadata = metadata
        self._name_of = name_of
        self._max_bytes = max_bytes
        self._clock = clock
        self._partitions: dict[int, Partition] = {}
        self._pool = ThreadPoolExecutor(2, "upload")
        self._memory = FileMemory()

    def begin(self, partition: int, offset: int) -> int:
        """Take over a partition; gives the offset to begin with, after the last file.

        Args:
            partition: its number.
            offset: the committed offset; everything before it is written.

        Raises:
            StoreUnavailable: the storage does not answer.
        """
        if found := self._objects.scan(self._folder(partition)):
            offset = max(offset, self._end_of(found[-1].key) + 1)
        self._partitions[partition] = Partition(offset)
        return offset

    def add(self, partition: int, offsets: NDArray[np.int64], batch: pa.RecordBatch) -> None:
        """Take records; those taken or written before are skipped.

        Args:
            partition: their partition.
            offsets: `(n,)` int64, ascending.
            batch: `(n,)` records.
        """
        mine = self._partitions[partition]
        n_old = int(offsets.searchsorted(mine.begin))
        if n_old == len(offsets):
            return
        offsets, batch = offsets[n_old:], batch.slice(n_old)
        mine.begin = int(offsets[-1]) + 1
        for number, first, last in ranges(offsets, self._rotation.rows):
            part = OffsetBatch(offsets[first:last], batch.slice(first, last - first))
            open_ = mine.files[-1] if mine.files else None
            fits = (
                open_ is not None
                and open_.range == number
                and open_.n_bytes < self._rotation.n_bytes
                and open_.parts[0].batch.schema == batch.schema
                and not (mine.upload is not None and len(mine.files) == 1)  # it is being written
            )
            if open_ is None or not fits:
                open_ = OpenFile(number, self._clock())
                mine.files.append(open_)
            open_.add(part)

    def durable(self, partition: int, position: int) -> int:
        """The offset before which everything is written, if all records before `position` were added."""
        files = self._partitions[partition].files
        return files[0].first if files else position

    @property
    def n_bytes(self) -> int:
        """Bytes of Arrow data in memory."""
        return sum(partition.n_bytes for partition in self._partitions.values())

    @property
    def full(self) -> list[int]:
        """The partitions to pause."""
        if self.n_bytes >= self._max_bytes:
            return list(self._partitions)
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
            if mine.upload is None and mine.files and now >= mine.retry_at:
                file = mine.files[0]
                if number in close or crowded or len(mine.files) > 1 or self._is_full(file, now):
                    mine.upload = self._pool.submit(self._write, number, file)

    def _is_full(self, file: OpenFile, now: float) -> bool:
        size = self._rotation.rows
        return (
            (file.last + 1) % size == 0
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
        # Usually all of the first file; if another worker was first, what that worker has written.
        mine.begin = max(mine.begin, end + 1)
        mine.files = [rest for file in mine.files if (rest := file.behind(end)) is not None]

    def flush(self, partitions: Collection[int], seconds: float) -> bool:
        """Write all records of some partitions; gives whether that was done in time."""
        deadline = time.monotonic() + seconds
        while True:
            self.tick(partitions)
            waiting = [one for p in partitions if (one := self._partitions.get(p)) is not None and one.files]
            left = deadline - time.monotonic()
            if not waiting or left <= 0:
                return not waiting
            wait([one.upload for one in waiting if one.upload is not None] or [Future()], min(left, 0.1))

    def end(self, partitions: Iterable[int]) -> None:
        """Give up partitions; unwritten records are dropped, and the new owner reads them again."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def close(self) -> None:
        """Stop the threads without waiting for them."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _write(self, partition: int, file: OpenFile) -> int:
        """Write a file; gives the last offset of the file with that name, whoever has written it."""
        table = pa.Table.from_batches([part.batch for part in file.parts])
        topic, number = self._name_of(partition)
        source = {"millstream.topic": topic, "millstream.partition": str(number)}
        spans = {"millstream.start": str(file.first), _END: str(file.last)}

        def write(sink: pa.NativeFile) -> None:
            with parquet_writer(sink, table.schema) as writer:
                writer.write_table(table, row_group_size=_ROW_GROUP)
                writer.add_key_value_metadata({**self._metadata, **source, **spans})

        key = f"{self._folder(partition)}/{file.first:020d}.parquet"
        with self._memory.file(file.n_bytes, write) as data:
            if self._objects.create(key, data):
                return file.last
        end = self._end_of(key)
        if end != file.last:  # equal if only the reply to our own request was lost
            _log.warning("%s exists already, up to offset %d: continuing after it", key, end)
        return end

    def _folder(self, partition: int) -> str:
        topic, number = self._name_of(partition)
        return f"{topic}/p{number}"

    def _end_of(self, key: str) -> int:
        return int(file_metadata(self._objects, key)[_END])
