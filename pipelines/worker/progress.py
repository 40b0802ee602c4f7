"""How far the outputs are in each partition: what they have of it already, and what is to be committed.

A partition starts where the slowest output needs it, and each output skips what it already has. The progress
of Parquet files is committed as metadata of the offsets, and so is what the error budget has counted.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipelines.worker.error_budget import ErrorBudget
from pipelines.worker.message_batch import MessageBatch
from pipelines.worker.offsets import CommitNote
from pipelines.worker.sinks import Outputs

__all__ = ["Progress"]

State = tuple[int, str]
"""What to commit for a partition: the offset and its metadata."""


class Progress:
    """The progress of the outputs of a worker in its partitions.

    Args:
        outputs: where records and dead letters go.
        budget: counts bad records.
    """

    def __init__(self, outputs: Outputs, budget: ErrorBudget) -> None:
        self._outputs = outputs
        self._budget = budget
        self._topics_from: dict[int, int] = {}  # up to here a partition is read again for the files alone
        self._committed: dict[int, State] = {}
        self._notes: dict[int, CommitNote] = {}  # what to commit, without what files and budget add

    def begin(self, partition: int, offset: int, metadata: str) -> tuple[int, int]:
        """Add a partition.

        Args:
            partition: its number.
            offset: the committed one.
            metadata: that was committed with it.

        Returns:
            The offsets from which the first and the last of the outputs need it.
        """
        self._committed[partition] = (offset, metadata)
        return self._begin(partition, offset, CommitNote.parse(metadata))

    def begin_again(self, partition: int, offset: int) -> int:
        """Go on with a partition whose log was cut, where offsets come again; gives the first one to read."""
        self._topics_from.pop(partition, None)
        note = self._note(partition)
        return self._begin(partition, offset, note._replace(epoch=note.epoch + 1, position=0))[0]

    def _begin(self, partition: int, offset: int, note: CommitNote) -> tuple[int, int]:
        outputs = self._outputs
        known = offset if note.files is None else note.files
        begins = [files.begin(partition, known, note.epoch) for files in outputs.files]
        epoch = max((files.epoch(partition) for files in outputs.files), default=note.epoch)
        if epoch > note.epoch:  # the group has forgotten it, and the files have not
            begins = [files.begin(partition, known, epoch) for files in outputs.files]
        self._notes[partition] = note._replace(files=None, epoch=epoch)
        self._budget.begin(partition, note.counted)
        if outputs.has_topics:
            begins.append(offset)
        start = min(begins)
        if outputs.has_topics and start < offset:
            self._topics_from[partition] = offset
        return start, max(begins)

    def _note(self, partition: int) -> CommitNote:
        return self._notes[partition].with_counted(self._budget.counted(partition))

    def end(self, partitions: Iterable[int]) -> None:
        """Remove partitions."""
        partitions = list(partitions)
        for files in self._outputs.files:
            files.end(partitions)
        self._budget.end(partitions)
        for partition in partitions:
            self._committed.pop(partition, None)
            self._notes.pop(partition, None)
            self._topics_from.pop(partition, None)

    def fresh(self, messages: MessageBatch) -> NDArray[np.bool_] | None:
        """Which messages have not been sent to topics yet, `(n,)` bool; None for all."""
        if not self._topics_from:
            return None
        fresh = np.ones(len(messages), np.bool_)
        for partition, offset in self._topics_from.items():
            fresh &= (messages.partitions != partition) | (messages.offsets >= offset)
        return fresh

    def to_commit(self, positions: dict[int, int]) -> dict[int, State]:
        """What is new since the last commit.

        Args:
            positions: the offset of the next record in each partition.
        """
        states = {p: self._state(p, offset) for p, offset in positions.items()}
        return {p: state for p, state in states.items() if self._committed.get(p) != state}

    def _state(self, partition: int, position: int) -> State:
        files = [output.durable(partition, position) for output in self._outputs.files]
        note = self._note(partition)
        if not self._outputs.has_topics:
            return min(files), str(note)
        offset = max(position, self._topics_from.get(partition, 0))
        return offset, str(note._replace(files=min(files)) if files else note)

    def committed(self, states: dict[int, State], positions: dict[int, int]) -> None:
        """Record what was committed, and the positions at that time."""
        self._committed |= states
        self._topics_from = {p: at for p, at in self._topics_from.items() if at > positions.get(p, 0)}
