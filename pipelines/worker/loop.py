"""The worker: messages → records with vectors → outputs → commit, until it is told to stop.

The loop is one thread. A batch of messages belongs to one version of the model. What was sent to topics and
the positions of the input are committed together; Parquet files are exactly-once by themselves
(`pipelines.sinks.offset_files`), and how far they have come is committed as the metadata of the offsets. A
partition begins where the output that is furthest behind needs it, and every output passes over what it has.
"""

import logging
import threading
import time

import numpy as np
from confluent_kafka import KafkaError, KafkaException
from numpy.typing import NDArray

from encoder.errors import InputError, RegistryUnavailable
from pipelines.enrich.model_follower import ModelFollower
from pipelines.worker.commit import Aborted, Commits, stop_error
from pipelines.worker.decode import RecordDecoder
from pipelines.worker.error_budget import ErrorBudget
from pipelines.worker.sinks import Outputs
from pipelines.worker.source import MessageBatch, Source
from pipelines.worker.telemetry.metrics import WorkerMetrics
from pipelines.worker.telemetry.tracing import OFF, Spans

__all__ = ["Worker"]

_log = logging.getLogger(__name__)
_BATCH = 2000  # messages: worth the turn around them, and they stay in the cache
_WAIT_SECONDS = 0.02
_REVOKED_SECONDS = 3.0  # for what is open when partitions move
_STOP_SECONDS = 5.0
_FILES_SECONDS = 1.0  # between commits where only files are written
_TRANSACTION_BYTES = 64 << 20
_BEHIND_SECONDS = 0.002  # a full batch that is there at once: there is more of it
_BEHIND_FACTOR = 20  # then commits are rarer, since each one makes the worker wait
_REGISTRY_SECONDS = 1.0  # between two tries to have a schema
_METADATA = "files="


class Worker:
    """Runs one member of the group.

    Args:
        source: reads the input topics.
        decoder: turns values into records with vectors.
        follower: gives the model.
        outputs: where records and dead letters go.
        commits: commits.
        budget: the share of bad records that is tolerated.
        metrics: what operators see.
        stopping: set when the worker is to stop.
        commit_seconds: the time between commits.
        transaction_records: the number of records after which to commit early.
        spans: for tracing.
    """

    def __init__(
        self,
        *,
        source: Source,
        decoder: RecordDecoder,
        follower: ModelFollower,
        outputs: Outputs,
        commits: Commits,
        budget: ErrorBudget,
        metrics: WorkerMetrics,
        stopping: threading.Event,
        commit_seconds: float,
        transaction_records: int,
        spans: Spans = OFF,
    ) -> None:
        self._source = source
        self._decode = decoder
        self._follower = follower
        self._outputs = outputs
        self._commits = commits
        self._budget = budget
        self._metrics = metrics
        self._stopping = stopping
        self._commit_seconds = commit_seconds if outputs.has_topics else max(commit_seconds, _FILES_SECONDS)
        self._transaction_records = transaction_records
        self._spans = spans
        self._topics_from: dict[int, int] = {}  # partitions that are read again for files alone, up to here
        self._committed: dict[int, tuple[int, str]] = {}
        self._last_commit = time.monotonic()
        self._n_records = self._n_bytes = 0
        self._oldest = 0.0
        self._go_on_at = 0.0  # until then nothing is read
        self._busy = False  # in a commit: callbacks from there must not begin another one

    def run(self) -> None:
        """Work until `stopping` is set, then finish what is open.

        Raises:
            MillstreamError: this process cannot go on; nothing that was not committed is lost.
        """
        self._source.subscribe(self)
        try:
            while not self._stopping.is_set():
                self._turn()
        except InputError:  # the error budget; the cluster is well, so leave nothing open there
            self._commits.abort()
            raise
        for files in self._outputs.files:
            if not files.flush(self._source.positions.owned, _STOP_SECONDS / len(self._outputs.files)):
                _log.warning("%s does not answer: what is not written will be read again", files.uri)
        self._commit()
        _log.info("stopped")

    def _turn(self) -> None:
        """One round of the loop."""
        begin, began = time.monotonic(), time.time_ns()
        messages = self._source.consume(_BATCH, _WAIT_SECONDS)
        behind = len(messages) == _BATCH and time.monotonic() - begin < _BEHIND_SECONDS
        self._metrics.alive()
        if len(messages):
            try:
                with self._spans.batch(messages.messages[0].topic(), messages.messages, began):
                    self._process(messages)
            except KafkaException as error:
                self._give_up(error)
            except RegistryUnavailable as error:
                self._try_later(messages, error)
        held = set(self._source.positions.owned if time.monotonic() < self._go_on_at else ())
        for files in self._outputs.files:
            files.tick()
            held.update(files.full)
        self._source.hold(held)
        self._metrics.waiting(len(held), sum(files.n_bytes for files in self._outputs.files))
        age = time.monotonic() - self._last_commit
        if (
            age >= self._commit_seconds * (_BEHIND_FACTOR if behind else 1)
            or self._n_records >= self._transaction_records
            or self._n_bytes >= _TRANSACTION_BYTES
        ):
            self._commit()

    def _give_up(self, error: KafkaException) -> None:
        """Start again from the last commit, if the transaction failed while messages were sent."""
        if error.args[0].code() != KafkaError._STATE:
            raise stop_error(error) from error
        _log.warning("the transaction failed: %s", error.args[0].str())
        self._commits.abort()
        self._restart("aborted")

    def _try_later(self, messages: MessageBatch, error: RegistryUnavailable) -> None:
        """Read messages again in a moment: a schema of theirs cannot be had, and no record is at fault."""
        _log.warning("trying again: %s", error)
        self._source.give_back(messages)
        self._commit()  # what came before them, so that it is not sent again and again
        self._go_on_at = time.monotonic() + _REGISTRY_SECONDS

    def _restart(self, outcome: str) -> None:
        self._metrics.transactions.labels(outcome).inc()
        self._source.rewind()

    def _process(self, messages: MessageBatch) -> None:
        begin = time.perf_counter()
        values = [message.value() for message in messages.messages]
        model = self._follower.current()
        enriched = self._decode(values, model)
        self._metrics.encoded(len(values), sum(map(len, filter(None, values))), time.perf_counter() - begin)
        self._oldest = self._oldest or messages.messages[0].timestamp()[1] / 1000
        fresh = self._fresh(messages)
        if self._outputs.has_topics:
            self._commits.begin()
        with self._spans.step("send"):
            large, n_bytes = self._outputs.send(messages, enriched, fresh)
        letters = enriched.letters + large
        if letters:
            self._metrics.dead(len(letters), letters[-1].reason)
            self._outputs.send_letters(messages, letters, fresh)
        self._budget.spend(len(values), len(letters), letters[-1].reason if letters else "")
        self._n_records += len(values)
        self._n_bytes += n_bytes

    def _fresh(self, messages: MessageBatch) -> NDArray[np.bool_] | None:
        """Which messages the topics have not had yet, or None for all."""
        if not self._topics_from:
            return None
        fresh = np.ones(len(messages), np.bool_)
        for partition, offset in self._topics_from.items():
            fresh &= (messages.partitions != partition) | (messages.offsets >= offset)
        return fresh

    def _commit(self) -> None:
        """Commit what is open, if there is anything."""
        begin = time.perf_counter()
        positions = self._source.positions
        moved = {p: positions.next(p) for p in positions.owned}
        state = {p: self._state(p, offset) for p, offset in moved.items()}
        new = {p: at for p, at in state.items() if self._committed.get(p) != at}
        self._last_commit = time.monotonic()
        if not new:
            return
        parts = [self._source.partitions.part(p, offset, metadata) for p, (offset, metadata) in new.items()]
        self._busy = True
        try:
            with self._spans.commit(self._n_records):
                done = self._commits.commit(parts)
        except Aborted:
            self._restart("aborted")
        else:
            self._metrics.transactions.labels("committed" if done else "refused").inc()
            if done:
                self._committed |= new
                positions.commit({p: moved[p] for p in new})
                self._topics_from = {p: at for p, at in self._topics_from.items() if at > moved.get(p, 0)}
                self._metrics.committed(self._n_records, time.perf_counter() - begin, self._oldest)
        finally:
            self._busy = False
            self._n_records = self._n_bytes = 0
            self._oldest = 0.0
            self._last_commit = time.monotonic()

    def _state(self, partition: int, position: int) -> tuple[int, str]:
        """What to commit for a partition: the offset, and how far the files are as its metadata."""
        files = [output.durable(partition, position) for output in self._outputs.files]
        if not self._outputs.has_topics:
            return min(files), ""
        offset = max(position, self._topics_from.get(partition, 0))
        return offset, f"{_METADATA}{min(files)}" if files else ""

    def assigned(self, partition: int, offset: int, metadata: str) -> int:
        """See `Rebalanced`."""
        self._committed[partition] = (offset, metadata)
        outputs = self._outputs
        if not outputs.files:
            return offset
        known = int(metadata.removeprefix(_METADATA)) if metadata.startswith(_METADATA) else offset
        begins = [files.begin(partition, known) for files in outputs.files]
        start = min(begins)
        if outputs.has_topics:
            start = min(start, offset)
            if start < offset:
                self._topics_from[partition] = offset
        return start

    def revoked(self, partitions: list[int]) -> None:
        """See `Rebalanced`."""
        if not self._busy:
            for files in self._outputs.files:
                files.flush(partitions, _REVOKED_SECONDS)
            self._commit()
        self._forget(partitions)

    def lost(self, partitions: list[int]) -> None:
        """See `Rebalanced`."""
        if not self._busy:
            self._commits.abort()
            self._source.rewind()
        self._forget(partitions)

    def _forget(self, partitions: list[int]) -> None:
        for files in self._outputs.files:
            files.end(partitions)
        for partition in partitions:
            self._committed.pop(partition, None)
            self._topics_from.pop(partition, None)
