"""Which topics the files of a folder came from: a marker for each name holds the ids that it stood for.

    payments/_input.json    ["CLUSTER/TOPIC", …]    in the order in which they were read

A table has them as properties. Files of the first topic are named by offsets alone, as they were before
folders had these markers. Files of the others end with digits of their topic's id, so that offsets which
come again take other names; so do the keys of a table's offsets.
"""

from dataclasses import dataclass

import msgspec

from encoder.errors import OutputConflict
from pipelines.kafka.topic_ids import TopicId, other_input
from pipelines.sinks.tables.markers import Markers

__all__ = ["InputClaim"]


@dataclass(frozen=True)
class InputClaim:
    """A topic in a folder.

    Attributes:
        objects: the folder or the table.
        topic: the topic's name.
        current: what the name stands for now.
        known: what it stood for, as the folder's marker has it; empty if the folder has none.
    """

    objects: Markers
    topic: str
    current: TopicId
    known: tuple[TopicId, ...]

    @classmethod
    def look_at(cls, objects: Markers, topic: str, current: TopicId, *, accept: bool = False) -> "InputClaim":
        """Compare a topic with the folder's marker; writes nothing.

        Args:
            objects: the folder or the table.
            topic: the topic's name.
            current: what the name stands for now.
            accept: whether another topic of this name is accepted.

        Raises:
            OtherInput: the folder holds files of another topic of this name.
            OutputConflict: the marker is damaged.
        """
        key = _marker(topic)
        try:
            found = msgspec.json.decode(objects.read(key), type=list[str]) if objects.stat(key) else []
        except msgspec.DecodeError as error:
            raise OutputConflict(
                f"{objects.uri} holds a damaged {key} ({error}): name another folder"
            ) from error
        known = tuple(map(TopicId.parse, found))
        if known and known[-1] != current and not accept:
            raise other_input(topic, current, known[-1], f"{objects.uri} holds")
        return cls(objects, topic, current, known)

    def take(self) -> "InputClaim":
        """Write the marker; where several workers start together, the first one wins.

        Raises:
            OtherInput: another worker has claimed the folder for another topic of this name.
        """
        if self.known and self.known[-1] == self.current:
            return self
        known = (*self.known, self.current)
        key, data = _marker(self.topic), msgspec.json.encode(list(map(str, known)))
        if self.known:
            self.objects.overwrite(key, data)
        else:
            self.objects.create(key, data)
        return self.look_at(self.objects, self.topic, self.current)

    @property
    def suffix(self) -> str:
        """What the names of its files end with."""
        return "" if self.known[:1] in ((), (self.current,)) else f"-{self.current.short}"

    @property
    def metadata(self) -> dict[str, str]:
        """What each of its files says of it."""
        return {"millstream.cluster": self.current.cluster, "millstream.topic_id": self.current.topic}


def _marker(topic: str) -> str:
    return f"{topic}/_input.json"
