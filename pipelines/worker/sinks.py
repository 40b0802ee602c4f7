"""The worker's outputs: topics, through one producer, and Parquet files or a table."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.enrich import Tombstones
from pipelines.enrich.condition import Condition
from pipelines.enrich.delete_columns import with_deletes
from pipelines.enrich.enrichment import EnrichedBatch
from pipelines.kafka.headers import all_headers, of_each
from pipelines.records.bad_rows import DeadLetter
from pipelines.records.fields import join_batches
from pipelines.records.isolation import step
from pipelines.records.masked_fields import MaskedFields
from pipelines.sinks.dead_letter_messages import dead_letter_batch, dead_letter_message
from pipelines.sinks.kafka import Headers, Outgoing, TopicSink, arrow_messages
from pipelines.sinks.offset_files import OffsetFiles
from pipelines.sinks.refusals import Refusals
from pipelines.sinks.tables.offset_table import OffsetTable
from pipelines.worker.message_batch import MessageBatch

__all__ = ["Encode", "Encoded", "Outputs", "RowSink"]

Encode = Callable[[EnrichedBatch], list[bytes]]
"""Encodes enriched records as values of messages."""

RowSink = OffsetFiles | OffsetTable
"""Where rows of partitions are written, with their offsets: Parquet files, or a table."""

MaskValue = Callable[[bytes | None], bytes | None]
"""Masks the value of a message."""

_LEAST_RUN = 16
Mask = NDArray[np.bool_] | None
Taken = Mapping[str, NDArray[np.bool_]]
"""Which messages of a batch each topic with a condition takes."""


class Encoded(NamedTuple):
    """Enriched records as the outputs take them.

    Attributes:
        messages: the messages that they came from.
        enriched: the records.
        rows: the messages that the rows for files came from, ascending.
        batch: the rows for files.
        values: of the messages to send.
        keys: of the messages to send.
        headers: of the messages to send, or None if they have none.
        times: timestamps of the messages to send.
        n_bytes: how many bytes the values have.
        chosen: which of the messages to send each topic with a condition gets.
        letters: dead letters for records that the topics do not take, and for deletes.
        unforeseen: the partitions of dead letters that another process would not make, as it would not know
            that a topic refuses their records.
    """

    messages: MessageBatch
    enriched: EnrichedBatch
    rows: NDArray[np.int64]
    batch: pa.RecordBatch
    values: Sequence[bytes | None] = ()
    keys: Sequence[bytes | None] = ()
    headers: Sequence[Headers] | None = None
    times: Sequence[int] = ()
    n_bytes: int = 0
    chosen: Mapping[str, Sequence[int]] = MappingProxyType({})
    letters: Sequence[DeadLetter] = ()
    unforeseen: frozenset[int] = frozenset()


class Outputs:
    """The outputs of a worker; any of them may be absent.

    Args:
        topics: where records are sent.
        conditions: which records the topics with these names get; all others get every record.
        encode: encodes records as messages; None sends them as Arrow batches.
        files: where records are written.
        letters_topic: where dead letters are sent.
        letters_files: where dead letters are written.
        tombstones: what becomes of deletes.
        delete_columns: whether files and Arrow batches have the columns of deletes.
        masked: masks dead letters; None if no field is masked.
        values_are_text: whether values of messages are text, so that a mask finds what is in them.
        many_rows: whether messages have many records, so that files of dead letters say which row one is of.
        refusals: of all these topics; None if there is none.

    Attributes:
        unforeseen: the partitions with dead letters, since the last commit, that another process would not
            make: what files have of these must be written before the commit.
    """

    def __init__(
        self,
        *,
        topics: Sequence[TopicSink] = (),
        conditions: Mapping[str, Condition] = MappingProxyType({}),
        encode: Encode | None = None,
        files: RowSink | None = None,
        letters_topic: TopicSink | None = None,
        letters_files: RowSink | None = None,
        tombstones: Tombstones = "pass",
        delete_columns: bool = False,
        masked: MaskedFields | None = None,
        values_are_text: bool = True,
        many_rows: bool = False,
        refusals: Refusals | None = None,
    ) -> None:
        self._topics = tuple(topics)
        self._conditions = dict(conditions)
        self._encode = encode
        self._files = files
        self._letters_topic = letters_topic
        self._letters_files = letters_files
        self._refusals = refusals
        self.unforeseen: set[int] = set()
        self._masked = masked
        self._mask_value: MaskValue | None = None
        if masked is not None:
            self._mask_value = masked.value if values_are_text else _withheld
        self._delete_columns = delete_columns
        self._many_rows = many_rows
        self.tombstones: Tombstones = tombstones
        get_all = [sink for sink in self._topics if sink.topic not in self._conditions]
        self._some_get_all = bool(get_all)
        self._least_bytes = min((sink.max_bytes for sink in self._topics), default=0)
        if tombstones == "pass" and not delete_columns and (encode is None or not get_all):
            self.tombstones = "dead-letter"

    @property
    def files(self) -> list[RowSink]:
        """The outputs that are files or a table."""
        sinks: tuple[RowSink | None, ...] = (self._files, self._letters_files)
        return [files for files in sinks if files is not None]

    @property
    def has_topics(self) -> bool:
        """Whether anything goes to topics."""
        return bool(self._topics) or self._letters_topic is not None

    def encode(self, messages: MessageBatch, enriched: EnrichedBatch, fresh: Mask) -> Encoded:
        """Make messages of records; nothing is sent yet.

        Args:
            messages: the messages that they came from.
            enriched: the records.
            fresh: `(n,)` bool, which messages have not been sent to topics yet; None for all.

        Raises:
            StepFailed: a record may be at fault: encode fewer together.
        """
        with step("TASK_PUT"):
            made = Encoded(messages, enriched, *self._rows(messages, enriched))
            if self.tombstones == "dead-letter" and enriched.deletes:
                made = made._replace(letters=[_delete_letter(row) for row in enriched.deletes])
            if not self._topics:
                return made
            if self._encode is None:
                return self._batches(made, fresh)
            return self._messages(self._encode, made, fresh)

    def _rows(self, messages: MessageBatch, enriched: EnrichedBatch) -> tuple[Any, pa.RecordBatch]:
        """The rows for files and Arrow batches, with deletes among them where there are columns for these."""
        if not self._delete_columns:
            return enriched.rows, enriched.batch
        rows = np.sort(np.concatenate([enriched.rows, np.array(enriched.deletes, np.int64)]))
        keys = pa.array([messages.messages[row].key() for row in rows.tolist()], pa.binary())
        return rows, with_deletes(enriched.batch, np.isin(rows, enriched.rows), keys)

    def _messages(self, encode: Encode, made: Encoded, fresh: Mask) -> Encoded:
        """A message for each record that a topic takes, and one without a value for each delete."""
        enriched, taken = self._chosen(made.enriched, len(made.messages))
        encoded = encode(enriched)
        rows: Sequence[int] = range(len(made.messages))
        if len(encoded) < len(rows):
            rows = enriched.rows.tolist()
        values: Sequence[bytes | None] = encoded
        sizes = list(map(len, encoded))
        may_be_large = max(sizes, default=0) > self._least_bytes // 2
        if made.enriched.deletes and self.tombstones == "pass":
            known = dict(zip(rows, encoded, strict=True))
            rows = sorted([*rows, *made.enriched.deletes])
            values = [known.get(row) for row in rows]
            may_be_large = True  # by their keys and headers
        sources = made.messages.messages
        if len(rows) < len(sources):
            sources = [sources[row] for row in rows]
        keys = list(of_each(sources, "key"))
        headers = all_headers(sources)
        times = [source.timestamp()[1] for source in sources]
        wanted: list[int] | None = None
        letters: list[DeadLetter] = []
        if may_be_large or (self._refusals is not None and self._refusals.may_be_of(keys)):
            wanted, letters = self._that_fit(rows, map(Outgoing, values, keys, headers), taken)
            made = _without(made, letters)
        if fresh is not None:
            wanted = [i for i in (range(len(rows)) if wanted is None else wanted) if fresh[rows[i]]]
        if wanted is not None:
            values, keys, headers, times = (
                [column[i] for i in wanted] for column in (values, keys, headers, times)
            )
            sizes = list(map(len, filter(None, values)))
            rows = [rows[i] for i in wanted]
        return made._replace(
            values=values,
            keys=keys,
            headers=headers,
            times=times,
            n_bytes=sum(sizes),
            chosen={topic: np.flatnonzero(mask[list(rows)]).tolist() for topic, mask in taken.items()},
            letters=[*made.letters, *letters],
            unforeseen=self._unforeseen(made.messages, letters),
        )

    def _unforeseen(self, messages: MessageBatch, letters: Sequence[DeadLetter]) -> frozenset[int]:
        """The partitions of dead letters that another process may not make."""
        if self._refusals is None or not self._refusals.has_learnt:
            return frozenset()
        return frozenset(messages.partitions[[one.row for one in letters]].tolist())

    def _chosen(self, enriched: EnrichedBatch, n: int) -> tuple[EnrichedBatch, Taken]:
        """The records that a topic takes, and which of `n` messages each topic with a condition takes."""
        taken: dict[str, NDArray[np.bool_]] = {}
        for topic, condition in self._conditions.items():
            taken[topic] = np.zeros(n, bool)
            taken[topic][enriched.rows] = condition(enriched.batch)
        if not taken or self._some_get_all:
            return enriched, taken
        wanted = np.any([mask[enriched.rows] for mask in taken.values()], axis=0)
        return enriched.take(np.flatnonzero(wanted)), taken

    def send(self, parts: Sequence[Encoded]) -> None:
        """Send the records of a batch of messages to the topics and add them to the files."""
        if self.files:
            self.unforeseen.update(*(encoded.unforeseen for encoded in parts))
        if self._files is not None:
            _add_parts(self._files, parts)
        for encoded in parts:
            columns = encoded.values, encoded.keys, encoded.headers, encoded.times
            for sink in self._topics:
                if (chosen := encoded.chosen.get(sink.topic)) is None:
                    sink.send(*columns)
                elif chosen:
                    sink.send(*(column and [column[i] for i in chosen] for column in columns))  # type: ignore[arg-type] # the columns keep their types

    def _that_fit(
        self, rows: Sequence[int], messages: Iterable[Outgoing], taken: Taken
    ) -> tuple[list[int], list[DeadLetter]]:
        """The messages that fit into their topics, and dead letters for the others."""
        fit, letters = [], []
        for i, (row, message) in enumerate(zip(rows, messages, strict=True)):
            sinks = [one for one in self._topics if one.topic not in taken or taken[one.topic][row]]
            if any(sink.too_large(message) for sink in sinks):
                letters.append(_too_large(row, message.n_bytes, sinks))
            elif reason := self._refused(message, sinks):
                letters.append(DeadLetter(row, "TASK_PUT", reason))
            else:
                fit.append(i)
        return fit, letters

    def _refused(self, message: Outgoing, sinks: Sequence[TopicSink]) -> str | None:
        """Why one of its topics refuses the message, or refused it when it was sent before."""
        if self._refusals is None:
            return None
        reasons = (self._refusals.of(sink.topic, message) for sink in sinks)
        return next(filter(None, reasons), None)

    def _batches(self, made: Encoded, fresh: Mask) -> Encoded:
        """Messages of many records each, as Arrow batches."""
        batch, rows = made.batch, made.rows
        if fresh is not None:
            kept = np.flatnonzero(fresh[rows])
            batch, rows = batch.take(pa.array(kept)), rows[kept]
        values, large = arrow_messages(batch, self._least_bytes)
        letters = [_too_large(int(rows[i]), batch.slice(i, 1).nbytes, self._topics) for i in large]
        times = _latest(values, made.messages.times[np.delete(rows, large)])
        return _without(made, letters)._replace(
            values=values,
            keys=[None] * len(values),
            times=times,
            n_bytes=sum(map(len, values)),
            letters=[*made.letters, *letters],
        )

    def confirm(self) -> None:
        """The topics have what was sent: the files may have it, too."""
        for files in self.files:
            files.confirm()

    def take_back(self) -> None:
        """What was sent since the last commit will come again, or something else in its place."""
        self.unforeseen.clear()
        for files in self.files:
            files.take_back()

    def aborted(self, code: int | None) -> None:
        """What was sent since the last commit is void, by an error with this code."""
        self.take_back()
        if self._refusals is not None:
            self._refusals.aborted(code)

    def committed(self) -> None:
        """What was sent is valid."""
        self.unforeseen.clear()
        self.confirm()
        if self._refusals is not None:
            self._refusals.committed()

    def masked(self, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Dead letters whose reasons may be told."""
        return list(letters if self._masked is None else map(self._masked.letter, letters))

    def send_letters(self, messages: MessageBatch, letters: Sequence[DeadLetter], fresh: Mask) -> None:
        """Send or write dead letters.

        Args:
            messages: the batch that they came from.
            letters: what is wrong with which messages.
            fresh: `(n,)` bool, which messages have not been sent to topics yet; None for all.
        """
        sources, mask, letters = messages.messages, self._mask_value, sorted(letters)
        values = [messages.value(one.row) for one in letters]
        values = values if mask is None else list(map(mask, values))
        if (sink := self._letters_topic) is not None:
            made = [
                dead_letter_message(sources[one.row], one, sink, value, messages.item(one.row))
                for one, value in zip(letters, values, strict=True)
                if fresh is None or fresh[one.row]
            ]
            if made:
                sink.send(*zip(*made, strict=True))
        if (files := self._letters_files) is not None:
            items = [messages.item(one.row) for one in letters] if self._many_rows else None
            batch = dead_letter_batch(sources, letters, values, items)
            _add_by_partition(
                files, messages.partitions, messages.offsets, [one.row for one in letters], batch
            )


def _without(made: Encoded, letters: Sequence[DeadLetter]) -> Encoded:
    """Records without those that are dead letters now: a record is in one place."""
    if not letters:
        return made
    kept = ~np.isin(made.rows, [letter.row for letter in letters])
    return made._replace(rows=made.rows[kept], batch=made.batch.filter(pa.array(kept)))


def _too_large(row: int, size: int, sinks: Sequence[TopicSink]) -> DeadLetter:
    topic, limit = min(((one.topic, one.max_bytes) for one in sinks), key=itemgetter(1))
    return DeadLetter(row, "TASK_PUT", f"the message has {size:,} bytes, and topic {topic!r} takes {limit:,}")


def _withheld(_value: bytes | None) -> None:
    """No value: a mask cannot look into bytes that are no text."""


def _delete_letter(row: int) -> DeadLetter:
    return DeadLetter(row, "VALUE_CONVERTER", "a delete: the value is null", is_delete=True)


def _latest(batches: Sequence[bytes], times: NDArray[np.int64]) -> list[int]:
    """The latest timestamp of the messages in each Arrow message, from those of all their rows."""
    counts = [pa.ipc.open_stream(batch).read_next_batch().num_rows for batch in batches]
    begins = np.cumsum([0, *counts])[:-1]
    return np.maximum.reduceat(times, begins).tolist() if batches else []


def _add_parts(files: RowSink, parts: Sequence[Encoded]) -> None:
    """Add the rows of a batch of messages to the files, all at once: files skip offsets that they have."""
    if not parts:
        return
    if len(parts) == 1:
        partitions, offsets = parts[0].messages.partitions, parts[0].messages.offsets
        _add_by_partition(files, partitions, offsets, parts[0].rows, parts[0].batch)
        return
    partitions = np.concatenate([one.messages.partitions[one.rows] for one in parts])
    offsets = np.concatenate([one.messages.offsets[one.rows] for one in parts])
    batch = join_batches([one.batch for one in parts], parts[0].batch.schema)
    _add_by_partition(files, partitions, offsets, np.arange(len(offsets)), batch)


def _add_by_partition(
    files: RowSink,
    partitions: NDArray[np.int32],
    offsets: NDArray[np.int64],
    rows: Any,
    batch: pa.RecordBatch,
) -> None:
    """Add rows of a batch to the files of their partitions.

    Messages of one partition mostly come in long runs, which are slices of the batch and not copied.
    """
    partitions, offsets = partitions[rows], offsets[rows]
    edges = np.flatnonzero(np.diff(partitions)) + 1
    if len(edges) * _LEAST_RUN > len(partitions):  # short runs: one copy is cheaper than many slices
        order = np.argsort(partitions, kind="stable")
        partitions, offsets, batch = partitions[order], offsets[order], batch.take(pa.array(order))
        edges = np.flatnonzero(np.diff(partitions)) + 1
    for first, last in pairwise([0, *edges.tolist(), len(partitions)]):
        if first < last:
            files.add(int(partitions[first]), offsets[first:last], batch.slice(first, last - first))
