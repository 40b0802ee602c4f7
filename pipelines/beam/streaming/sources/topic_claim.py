"""Which topic an output topic was made of: a note that the brokers keep on the output topic.

    group millstream-stream.INPUT, topic OUTPUT, partition 0:  ["CLUSTER/FIRST_TOPIC", "CLUSTER/LAST_TOPIC"]

A stream commits no offsets that it reads from. This note is gone when the output topic is deleted, and stays
when the input topic is.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from encoder.errors import TransientError
from pipelines.kafka.offset_notes import NotesForbidden, OffsetNotes
from pipelines.kafka.topic_ids import TopicId, other_input

__all__ = ["TopicClaim"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TopicClaim:
    """The claim of an input topic on an output topic.

    Attributes:
        topic: the input topic's name.
        output: the output topic's name.
        properties: librdkafka's properties of a consumer.
    """

    topic: str
    output: str
    properties: Mapping[str, str]

    def take(self, current: TopicId, *, accept: bool = False) -> bool:
        """Compare the topic with the one that the output was made of, and write down which one it is.

        Args:
            current: what the topic's name stands for now.
            accept: whether another topic of this name is accepted.

        Returns:
            Whether the output also has rows of an earlier topic of this name.

        Raises:
            OtherInput: the output was made of another topic of this name.
            TransientError: the cluster does not answer.
        """
        try:
            known = self._known()
            if known and known[-1] != current and not accept:
                raise other_input(self.topic, current, known[-1], f"topic {self.output!r} was made of")
            self._write([*known[:1], current] if known[:1] != [current] else [current])
        except NotesForbidden as why:
            _log.warning(
                "cannot keep which topic %s stands for (%s): a restart does not notice that it was created "
                "again; allow READ on group %s and on topic %s",
                *(self.topic, why, self._group, self.output),
            )
            return False
        except TransientError as error:
            raise TransientError(f"cannot look up what topic {self.output!r} was made of: {error}") from error
        return bool(known) and known[0] != current

    def renew(self) -> None:
        """Write the claim again before the brokers drop it; it is no error here if they do not answer."""
        try:
            if known := self._known():
                self._write(known)
        except (NotesForbidden, TransientError) as error:
            _log.warning("cannot renew what topic %s was made of: %s", self.output, error)

    @property
    def _group(self) -> str:
        return f"millstream-stream.{self.topic}"

    @property
    def _notes(self) -> OffsetNotes:
        return OffsetNotes(self._group, self.properties)

    def _known(self) -> list[TopicId]:
        """The first topic of this name, and the last one if that is another; empty if nothing is known."""
        [note] = self._notes.read([(self.output, 0)])
        try:
            return [TopicId.parse(one) for one in msgspec.json.decode(note or "[]", type=list[str])]
        except msgspec.DecodeError:  # somebody else's
            return []

    def _write(self, topics: list[TopicId]) -> None:
        self._notes.write({(self.output, 0): msgspec.json.encode(list(map(str, topics))).decode()})
