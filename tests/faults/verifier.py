"""The rule that every scenario of faults is held to: what was read is in exactly one place, with its values.

    found = verify(good, bad, [records_of_the_topic, records_of_the_files], letters)
    assert found.is_right

Records have keys. `good` and `bad` say what went in; what was never read (retention removed it, its topic was
deleted) is in neither.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Found", "verify"]


@dataclass(frozen=True)
class Found:
    """What came out, compared with what went in.

    Attributes:
        records: records in all outputs, repeated ones too.
        lost: good records that an output does not have.
        repeated: records that an output has once more than once.
        changed: records with other values than those that went in.
        misplaced: bad records in an output, good ones among the dead letters, and what never went in.
        dead_wrong: bad records without a dead letter, or with one that has other bytes.
        dead_repeated: dead letters that are there once more than once.
    """

    records: int
    lost: int
    repeated: int
    changed: int
    misplaced: int
    dead_wrong: int
    dead_repeated: int

    @property
    def is_complete(self) -> bool:
        """Whether everything is in its place with its values, at least once."""
        return not (self.lost or self.changed or self.misplaced or self.dead_wrong)

    @property
    def is_right(self) -> bool:
        """Whether everything is in its place with its values, each once."""
        return self.is_complete and not (self.repeated or self.dead_repeated)


def verify(
    good: Mapping[str, Any],
    bad: Mapping[str, Any],
    outputs: Sequence[Iterable[tuple[str, Any]]],
    letters: Iterable[tuple[str, Any]],
) -> Found:
    """Compare outputs and dead letters with what went in.

    Args:
        good: the values of records that belong into every output, by key.
        bad: the bytes of records that belong to the dead letters, by key.
        outputs: the keys and values in each output.
        letters: the keys and bytes of the dead letters.
    """
    found, dead = [list(output) for output in outputs], list(letters)
    counts, dead_counts = [Counter(key for key, _ in output) for output in found], Counter(k for k, _ in dead)
    return Found(
        records=sum(map(len, found)),
        lost=sum(len(good.keys() - count.keys()) for count in counts),
        repeated=sum(count.total() - len(count) for count in counts),
        changed=sum(good.get(key, value) != value for output in found for key, value in output),
        misplaced=sum(len(count.keys() - good.keys()) for count in counts)
        + len(dead_counts.keys() - bad.keys()),
        dead_wrong=len(bad.keys() - dead_counts.keys()) + sum(bad.get(k, v) != v for k, v in dead),
        dead_repeated=dead_counts.total() - len(dead_counts),
    )
