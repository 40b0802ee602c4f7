"""Records in no group: counted, and one of them named in the log now and then."""

import logging
import time
from collections.abc import Callable

import numpy as np

from encoder.heads.groups import Groups
from encoder.heads.scoring import Heads
from pipelines.enrich.enrichment import EnrichedBatch
from pipelines.worker.message_batch import MessageBatch

__all__ = ["NewKinds"]

_log = logging.getLogger(__name__)
_SECONDS = 60.0  # between two lines


class NewKinds:
    """Records whose kind the groups of the model have not seen.

    Args:
        count: takes the name of a head and the number of records in none of its groups.
        clock: seconds, monotonic.
    """

    def __init__(
        self, count: Callable[[str, int], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count, self._clock = count, clock
        self._since_line: dict[str, int] = {}
        self._next_line = clock()

    def look(self, heads: Heads, messages: MessageBatch, first: int, enriched: EnrichedBatch) -> None:
        """Count the records of a batch that are in no group.

        Args:
            heads: of the model that enriched it.
            messages: that the records are from.
            first: the message that row 0 of the batch's rows is about.
            enriched: the batch.
        """
        for head in heads.heads:
            place = enriched.batch.schema.get_field_index(f"{head.name}_group")
            if not isinstance(head, Groups) or place < 0:
                continue
            groups = enriched.batch.column(place)
            self._count(head.name, groups.null_count)
            if not groups.null_count:
                continue
            n = self._since_line.pop(head.name, 0) + groups.null_count
            if self._clock() < self._next_line:
                self._since_line[head.name] = n
                continue
            row = int(np.flatnonzero(groups.is_null().to_numpy(zero_copy_only=False))[0])
            one = messages.messages[first + int(enriched.rows[row])]
            where = f"{one.topic()}/{one.partition()}/{one.offset()}"
            _log.info("%d records in no group of %r, such as %s", n, head.name, where)
            self._next_line = self._clock() + _SECONDS
