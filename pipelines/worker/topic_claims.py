"""Which topics the output topics of a group were made of: notes that the brokers keep on the output topics.

    group GROUP.inputs, topic OUTPUT, partition p:  {"payments": "CLUSTER/TOPIC", …}

Kafka deletes what a group has committed together with the topic that it read, and keeps these notes, so that
a worker which writes topics alone knows that its input was created again. An input is noted on the partition
that its name is hashed to, as a note has at most 4,096 bytes.
"""

import logging
import zlib
from collections.abc import Callable, Collection, Mapping

import msgspec

from encoder.errors import TransientError
from pipelines.kafka.offset_notes import NotesForbidden, OffsetNotes
from pipelines.kafka.topic_ids import TopicId, other_input

__all__ = ["TopicClaims"]

_log = logging.getLogger(__name__)
_MOST_BYTES = 4000
_Note = dict[str, str]


class TopicClaims:
    """The claims of the input topics of a group on its output topics.

    Args:
        group: of the worker.
        outputs: the output topics, and their numbers of partitions.
        properties: librdkafka's properties of a consumer.
        accept: whether another topic of the same name is accepted.
        may_use: whether this user may use a group.
    """

    def __init__(
        self,
        group: str,
        outputs: Mapping[str, int],
        properties: Mapping[str, str],
        *,
        accept: bool,
        may_use: Callable[[str], bool] = lambda _group: True,
    ) -> None:
        self._group = f"{group}.inputs"
        self._outputs = dict(outputs)
        self._notes = OffsetNotes(self._group, properties)
        self._accept = accept
        self._known: dict[tuple[str, int], _Note] = {}  # by output and partition
        self._is_allowed = may_use(self._group)  # librdkafka asks for ten seconds where it is not
        if not self._is_allowed:
            self._forbidden("the group is forbidden")

    def look_at(self, topics: Mapping[str, TopicId]) -> None:
        """Compare topics with those that the outputs were made of; writes nothing.

        Raises:
            OtherInput: an output was made of another topic of this name.
            TransientError: the cluster does not answer.
        """
        if not self._read(topics):
            return
        for topic, one in topics.items():
            for place in self._places(topic):
                known = self._known[place].get(topic, str(one))
                if known == str(one):
                    continue
                error = other_input(topic, one, TopicId.parse(known), f"topic {place[0]!r} was made of")
                if not self._accept:
                    raise error
                _log.warning("accepted: %s", error)

    def take(self, topics: Mapping[str, TopicId]) -> None:
        """Write down which topics the outputs are made of from now on.

        Raises:
            TransientError: the cluster does not answer.
        """
        changed = {}
        for topic, one in topics.items():
            for place in self._places(topic):
                note = self._known.setdefault(place, {})
                if note.get(topic) != str(one):
                    note.pop(topic, None)
                    note[topic] = str(one)  # the last one
                    changed[place] = note
        self._write(changed)

    def renew(self) -> None:
        """Write the notes again before the brokers drop them; it is no error here if they do not answer."""
        try:
            self._write({place: note for place, note in self._known.items() if note})
        except TransientError as error:
            _log.warning("cannot renew what the output topics were made of: %s", error)

    def _places(self, topic: str) -> list[tuple[str, int]]:
        """Where a topic is noted, in each output."""
        return [(output, zlib.crc32(topic.encode()) % n) for output, n in self._outputs.items()]

    def _read(self, topics: Collection[str]) -> bool:
        """Read the notes of topics; whether that is allowed."""
        wanted = sorted({place for topic in topics for place in self._places(topic)})
        if not wanted or not self._is_allowed:
            return False
        try:
            self._known |= zip(wanted, map(_parse, self._notes.read(wanted)), strict=True)
        except NotesForbidden as why:
            self._forbidden(why)
        return self._is_allowed

    def _write(self, changed: Mapping[tuple[str, int], _Note]) -> None:
        if not changed or not self._is_allowed:
            return
        try:
            self._notes.write({place: _shown(place[0], note) for place, note in changed.items()})
        except NotesForbidden as why:
            self._forbidden(why)

    def _forbidden(self, why: object) -> None:
        self._is_allowed = False
        _log.warning(
            "cannot keep which topics are read (%s): a restart does not notice that one was created again; "
            "allow READ on group %s and on topics %s",
            *(why, self._group, ", ".join(self._outputs)),
        )


def _parse(note: str) -> _Note:
    try:
        return msgspec.json.decode(note or "{}", type=_Note)
    except msgspec.DecodeError:  # somebody else's
        return {}


def _shown(output: str, note: _Note) -> str:
    """A note, without the topics that were noted first if it is too long."""
    while len(text := msgspec.json.encode(note)) > _MOST_BYTES:
        left_out = next(iter(note))
        del note[left_out]
        _log.warning("cannot keep on topic %s which topic %s stands for: too many are read", output, left_out)
    return text.decode()
