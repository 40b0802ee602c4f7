"""The worker's loop: messages → records with vectors → outputs → commit, until it is told to stop.

The loop is one thread, and each batch uses one model version. Messages to topics are committed together with
the positions of the input. Parquet files are exactly-once by themselves (`pipelines.sinks.offset_files`);
`pipelines.worker.progress` says how far each output is.
"""

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException

from encoder.errors import InputError, MillstreamError, RegistryUnavailable, TransientError
from pipelines.enrich.model_follower import ModelFollower
from pipelines.records.bad_rows import DeadLetter
from pipelines.records.isolation import isolate, letter_of
from pipelines.sinks.refusals import REFUSED
from pipelines.worker.commit import Aborted, Commits, stop_error
from pipelines.worker.decode import RecordDecoder
from pipelines.worker.drift import DriftWatch
from pipelines.worker.error_budget import ErrorBudget
from pipelines.worker.inputs import Inputs
from pipelines.worker.message_batch import MessageBatch
from pipelines.worker.progress import Progress
from pipelines.worker.sinks import Encoded, Mask, Outputs
from pipelines.worker.source import Source
from pipelines.worker.telemetry.metrics import WorkerMetrics
from pipelines.worker.telemetry.new_kinds import NewKinds
from pipelines.worker.telemetry.tracing import OFF, Spans
from pipelines.worker.unpack import OneEach, Unpack, part_of

__all__ = ["Worker"]

_log = logging.getLogger(__name__)
_BATCH = 2000  # messages: enough to pay for a turn of the loop, few enough to stay in the CPU's cache
_FIRST_BATCH = 4  # until their size is known
_WAIT_SECONDS = 0.02
_REVOKED_SECONDS = 3.0  # to write open files when partitions move
_STOP_SECONDS = 5.0
_FILES_SECONDS = 1.0  # between commits if only files are written
_TRANSACTION_BYTES = 64 << 20
_BEHIND_SECONDS = 0.002  # a full batch that arrives this fast means a backlog
_REGISTRY_SECONDS = 1.0  # between two attempts to fetch a schema
_FILES_FIRST_SECONDS = 5.0  # to write files that belong to a commit, before it
_CUT_SECONDS = 30.0  # to write what was read of a log that has lost it
_ONE_EACH = OneEach()
_CHECK_SECONDS = 5.0  # between looks at the topics of a worker that commits nothing


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
        backlog_commit_seconds: the same during a backlog.
        transaction_records: the number of records after which to commit early.
        inputs: knows what the names of topics stand for; None if the brokers cannot tell.
        spans: for tracing.
        unpack: finds the records in messages.
        drift: compares windows of records with the model's baseline; None for no comparison.
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
        backlog_commit_seconds: float,
        transaction_records: int,
        inputs: Inputs | None = None,
        spans: Spans = OFF,
        unpack: Unpack = _ONE_EACH,
        drift: DriftWatch | None = None,
    ) -> None:
        self._drift = drift
        self._inputs = inputs
        self._source = source
        self._decode = decoder
        self._follower = follower
        self._outputs = outputs
        self._commits = commits
        self._budget = budget
        self._metrics = metrics
        self._stopping = stopping
        least = 0.0 if outputs.has_topics else _FILES_SECONDS
        self._commit_seconds = max(commit_seconds, least)
        self._backlog_commit_seconds = max(backlog_commit_seconds, least)
        self._transaction_records = transaction_records
        self._spans = spans
        self._unpack = unpack
        self._new_kinds = NewKinds(metrics.ungrouped)
        self._progress = Progress(outputs, budget)
        self._last_commit = time.monotonic()
        self._n_records = self._n_bytes = 0
        self._oldest = 0.0
        self._n_next = _FIRST_BATCH
        self._go_on_at = 0.0  # reading is paused until then
        self._busy = False  # committing: a callback must not start another commit

    def run(self) -> None:
        """Run until `stopping` is set, then write and commit what is open.

        Raises:
            MillstreamError: this process cannot continue; records since the last commit are read again.
        """
        self._source.subscribe(self)
        try:
            while not self._stopping.is_set():
                self._turn()
        except InputError:  # the error budget; the cluster works, so close the transaction
            with suppress(MillstreamError):  # why the worker ends is said, whatever becomes of the abort
                self._commits.abort()
            raise
        deadline = time.monotonic() + _STOP_SECONDS
        if self._outputs.has_topics:
            self._commit_until(deadline)  # so that the files may have what the topics have
        for files in self._outputs.files:
            if not files.flush(self._source.positions.owned, _STOP_SECONDS / len(self._outputs.files)):
                _log.warning(
                    "stopping before all files were written to %s: their records will be read again",
                    files.uri,
                )
        self._commit_until(max(deadline, time.monotonic() + _STOP_SECONDS / 2))
        _log.info("stopped")

    def _commit_until(self, deadline: float) -> None:
        """Commit before the end. A commit that is refused because partitions move waits until they have."""
        while not self._commit() and time.monotonic() < deadline:
            self._source.idle()
            time.sleep(_WAIT_SECONDS)

    def _turn(self) -> None:
        """One round of the loop."""
        begin, began = time.monotonic(), time.time_ns()
        messages = self._source.consume(self._n_next, _WAIT_SECONDS)
        behind = len(messages) == self._n_next and time.monotonic() - begin < _BEHIND_SECONDS
        self._metrics.alive()
        if len(messages):
            self._process_parts(messages, began)
        held = set(self._source.positions.owned if time.monotonic() < self._go_on_at else ())
        for files in self._outputs.files:
            files.tick()
            held.update(files.full)
        self._source.hold(held)
        self._metrics.waiting(len(held), sum(files.n_bytes for files in self._outputs.files))
        age = time.monotonic() - self._last_commit
        if age >= _CHECK_SECONDS:
            self._check_topics(self._source.positions.owned)
        if (
            age >= (self._backlog_commit_seconds if behind else self._commit_seconds)
            or self._n_records >= self._transaction_records
            or self._n_bytes >= _TRANSACTION_BYTES
            or (self._n_records and any(files.needs_confirm for files in self._outputs.files))
        ):
            self._commit()

    def _process_parts(self, messages: MessageBatch, began: int) -> None:
        """Process messages in parts that fit in memory, and choose how many to take next."""
        parts = self._unpack.parts(messages)
        wanted = _BATCH if len(parts) == 1 else max(1, len(messages) // len(parts))
        self._n_next = min(wanted, 2 * self._n_next)
        for first, stop in parts:
            part = messages.slice(first, stop)
            try:
                with self._spans.batch(part.messages[0].topic(), part.messages, began):
                    self._process(part)
            except KafkaException as error:
                self._give_up(error)
                return
            except RegistryUnavailable as error:
                self._try_later(messages.slice(first, len(messages)), error)
                return

    def _give_up(self, error: KafkaException) -> None:
        """Restart from the last commit if the transaction failed during a send."""
        reason: KafkaError = error.args[0]
        if reason.code() not in (KafkaError._STATE, *REFUSED):
            raise stop_error(error) from error
        _log.warning("sending failed: %s; reading its input again", reason.str())
        self._commits.abort()
        self._restart(reason.code())

    def _try_later(self, messages: MessageBatch, error: RegistryUnavailable) -> None:
        """Read these messages again later: their schema cannot be fetched, which is no record's fault."""
        _log.warning("%s; retrying in %g s", error, _REGISTRY_SECONDS)
        self._source.give_back(messages)
        self._commit()  # what came before them, so that it is not sent with every retry
        self._go_on_at = time.monotonic() + _REGISTRY_SECONDS

    def _restart(self, code: int | None) -> None:
        """Read again what was sent since the last commit, which failed by an error with this code."""
        self._count_anew()
        self._source.rewind()  # before anything that may raise: what is void must not count as written
        self._metrics.transactions.labels("aborted").inc()
        self._outputs.aborted(code)

    def _process(self, messages: MessageBatch) -> None:
        model, seconds = self._follower.current(), 0.0
        begin = time.perf_counter()
        records, values = self._unpack(messages)
        seconds += time.perf_counter() - begin
        fresh = self._progress.fresh(records)

        def encoded(first: int, stop: int) -> Encoded:
            nonlocal seconds
            begin = time.perf_counter()
            part = records.slice(first, stop)
            enriched = self._decode(part_of(values, first, stop), model, part.deletes)
            seconds += time.perf_counter() - begin
            return self._outputs.encode(part, enriched, None if fresh is None else fresh[first:stop])

        self._oldest = self._oldest or messages.messages[0].timestamp()[1] / 1000
        self._n_records += max(1, len(records))
        if not len(records):
            return
        done, failed = isolate(len(records), encoded)
        self._metrics.encoded(len(records), messages.n_bytes, seconds)
        for first, part in done:
            self._new_kinds.look(model.encoder.heads, records, first, part.enriched)
        letters = [letter_of(row, error) for row, error in failed.items()]
        for first, part in done:
            letters += [one._replace(row=first + one.row) for one in (*part.enriched.letters, *part.letters)]
        letters = self._outputs.masked(letters)
        self._send(records, [part for _, part in done], letters, fresh)
        deletes = [first + row for first, part in done for row in part.enriched.deletes]
        self._count(records, letters, deletes)
        if self._drift is not None:
            for _, part in done:
                self._drift.add(model, part.messages, part.enriched)

    def _send(
        self, records: MessageBatch, parts: Sequence[Encoded], letters: list[DeadLetter], fresh: Mask
    ) -> None:
        """Send records and dead letters."""
        if self._outputs.has_topics:
            self._commits.begin()
        with self._spans.step("send"):
            self._outputs.send(parts)
            self._n_bytes += sum(part.n_bytes for part in parts)
        if letters:
            self._outputs.send_letters(records, sorted(letters), fresh)

    def _count(self, records: MessageBatch, letters: Sequence[DeadLetter], deletes: Sequence[int]) -> None:
        """Count bad records and deletes."""
        bad = [one for one in letters if not one.is_delete]
        bad_rows = {one.row for one in bad}
        deletes = [row for row in deletes if row not in bad_rows]
        self._metrics.deleted(len(deletes), self._outputs.tombstones)
        if bad:
            self._metrics.dead(len(bad), max(bad).reason)
        weights = {row: records.weight(row) for row in bad_rows}
        self._budget.spend(records.partitions, records.offsets, bad, ignored=deletes, weights=weights)

    def _commit(self) -> bool:
        """Commit what is new since the last commit; False if the brokers refuse it, as partitions move."""
        self._busy = True
        try:
            if self._outputs.unforeseen:
                self._write_files_first(self._outputs.unforeseen)
            return self._commit_new()
        except Aborted as error:
            self._restart(error.code)
            return True
        finally:
            self._busy = False
            self._last_commit = time.monotonic()

    def _commit_new(self) -> bool:
        """Commit, without a look at what the files have."""
        begin = time.perf_counter()
        positions = self._source.positions
        moved = {p: positions.next(p) for p in positions.owned}
        new = self._progress.to_commit(moved)
        if not new:
            self._outputs.confirm()  # it was read again for the files alone
            return True
        if self._outputs.has_topics:  # files are checked when they are written
            self._check_topics(new)
        parts = [self._source.to_commit(p, offset, metadata) for p, (offset, metadata) in new.items()]
        with self._spans.commit(self._n_records):
            done = self._commits.commit(parts)
        self._metrics.transactions.labels("committed" if done else "refused").inc()
        if done:
            self._outputs.committed()
            self._progress.committed(new, moved)
            positions.commit({p: moved[p] for p in new})
            self._metrics.committed(self._n_records, time.perf_counter() - begin, self._oldest)
        self._count_anew()
        return done

    def _count_anew(self) -> None:
        self._n_records = self._n_bytes = 0
        self._oldest = 0.0

    def _write_files_first(self, partitions: Iterable[int]) -> None:
        """Write the files of some partitions once the topics have taken the same records, before the commit.

        Otherwise a worker that takes over would read these records again for the files alone, and not know
        which of them are dead letters because a topic has refused them.

        Raises:
            Aborted: a topic refuses one, or the store does not take the files in time.
        """
        wanted = set(partitions).intersection(self._source.positions.owned)
        self._commits.deliver()
        self._outputs.confirm()
        for files in self._outputs.files:
            if not files.flush(wanted, _FILES_FIRST_SECONDS):
                _log.warning("%s does not take the files that belong to a commit: it waits", files.uri)
                self._commits.abort()
                raise Aborted(KafkaError._TIMED_OUT)

    def _check_topics(self, partitions: Iterable[int]) -> None:
        """End where a topic was created again: its offsets are another's."""
        if self._inputs is not None:
            self._inputs.check({self._source.partitions[number].topic for number in partitions})

    def assigned(self, partition: int, offset: int, metadata: str) -> int:
        start, furthest = self._progress.begin(partition, offset, metadata)
        if furthest > start and (cut := self._source.if_cut(partition, furthest)) is not None:
            self.skipped(cut.skipped)  # the output that is behind reads on without an error
            return self._begin_again(partition, cut.offset)
        return start

    def cut(self, partition: int, offset: int) -> int:
        if self._outputs.files:
            self._write_last_of(partition)
        if partition not in self._source.positions.owned:  # it has moved meanwhile
            return offset
        return self._begin_again(partition, offset)

    def _begin_again(self, partition: int, offset: int) -> int:
        """Go on with a partition whose log was cut, and read from here on what comes again."""
        self._source.forget(partition)
        self._source.positions.begin(partition, offset)
        start = self._progress.begin_again(partition, offset)
        self._commit()  # at once: when the log has grown, nobody sees any more that it was cut
        return start

    def _write_last_of(self, partition: int) -> None:
        """Write the last records of a log that has lost them; what a topic refuses of them is gone, too."""
        self._busy = True
        try:
            self._commits.deliver()
            self._outputs.confirm()
        except Aborted as error:
            self._restart(error.code)
        finally:
            self._busy = False
        for files in self._outputs.files:
            if not files.flush([partition], _CUT_SECONDS, is_cut=True):
                name = self._source.partitions[partition]
                raise TransientError(
                    f"{files.uri} does not take the last records of {name}: restart the worker"
                )
            files.end([partition])

    def skipped(self, skipped: Mapping[str, int]) -> None:
        for reason, n_offsets in skipped.items():
            self._metrics.skipped.labels(reason).inc(n_offsets)

    def revoked(self, partitions: list[int]) -> None:
        if not self._busy:
            if self._outputs.has_topics and self._outputs.files:
                self._commit()  # so that the files may have what the topics have
            for files in self._outputs.files:
                files.flush(partitions, _REVOKED_SECONDS)
            self._commit()
        self._progress.end(partitions)

    def lost(self, partitions: list[int]) -> None:
        if not self._busy:
            self._commits.abort()
            self._source.rewind()
            self._outputs.take_back()
        self._progress.end(partitions)
