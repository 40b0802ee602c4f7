"""Groups: records of the same kind, such as the lines that one statement of a program logs.

A group has one template or more: sequences of words and variables (`encoder.kernels.templates`). A text
belongs to the group of the template that it matches. If groups have vectors, a text that matches none belongs
to the group whose vector is nearest, if that is near enough.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.arrays.texts import TextBuffers
from encoder.heads.cases import Strings
from encoder.heads.group_tables import TemplateTables
from encoder.heads.vector_index import Index
from encoder.kernels.templates import hash_rows

__all__ = ["Grouped", "Groups"]

Floats = NDArray[np.float32]


class Grouped(NamedTuple):
    """The groups of texts.

    Attributes:
        group: `(n,)` int32, their numbers; -1 where a text is of no known kind.
        template: `(n,)` int32, the numbers of templates; -1 where a text matches none.
        similarity: `(n,)` float32: 1 if a template matches. Else the cosine of the nearest group, or, if
            groups have no vectors, the largest share of a template's words that stand in the text at their
            places.
    """

    group: NDArray[np.int32]
    template: NDArray[np.int32]
    similarity: Floats


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of records of the same kind.

    Attributes:
        name: the head's name.
        ids: `(n_groups,)` their ids, all different.
        titles: `(n_groups,)` a few telling words of each.
        sizes: `(n_groups,)` int64, how many records of the fit each had.
        first_seen: `(n_groups,)` the earliest time of those, as ISO 8601; empty texts where it is unknown.
        examples: `(n_groups,)` a typical record, masked; empty texts where none was to be stored.
        templates: `(n_templates,)` as a person reads them, with `<*>` for variables.
        group: `(n_templates,)` int32, the group of each.
        rows: `(n_rows,)` the sequences that templates match: words with one space between them, and `<*>` for
            variables; ascending by their number of words.
        template: `(n_rows,)` int32, the template of each.
        dim: the number of dimensions of the model.
        vectors: `(n_groups, dim)` float16 of length 1, or None.
        threshold: the least cosine that is near enough, if there are vectors.
        metadata: how it was fitted; any JSON.
    """

    kind: ClassVar[Literal["groups"]] = "groups"

    name: str
    ids: Strings
    titles: Strings
    sizes: NDArray[np.int64]
    first_seen: Strings
    examples: Strings
    templates: Strings
    group: NDArray[np.int32]
    rows: Strings
    template: NDArray[np.int32]
    dim: int
    vectors: NDArray[np.float16] | None = None
    threshold: float = 1.0
    metadata: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def tables(self) -> TemplateTables:
        """What finds the row of a text."""
        words = np.empty(len(self.rows.data) + 1, np.uint64)
        ends = np.empty(len(self.rows) + 1, np.int64)
        n = hash_rows(_read_only(self.rows.data), _read_only(self.rows.ends), words, ends)
        return TemplateTables.of(words[:n].copy(), ends)

    @cached_property
    def index(self) -> Index:
        """What finds the nearest groups.

        Raises:
            ValueError: vectors are longer than 1.
        """
        assert self.vectors is not None
        return Index(self.vectors)

    def outcome(self, vectors: Floats, texts: list[TextBuffers]) -> Grouped:
        """The groups of texts.

        Args:
            vectors: `(n, dim)` float32 of length 1.
            texts: the same texts, masked.
        """
        none = np.empty(0, np.int32), np.empty(0, np.float32)
        found = [none, *(self.tables.match(part) for part in texts)]
        row, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
        row[similarity < 1] = -1
        there = row >= 0
        template, group = np.full(len(row), -1, np.int32), np.full(len(row), -1, np.int32)
        template[there] = self.template[row[there]]
        group[there] = self.group[template[there]]
        if self.vectors is not None and not there.all():
            self._by_vectors(vectors, ~there, group, similarity)
        return Grouped(group, template, similarity)

    def _by_vectors(
        self, vectors: Floats, wanted: NDArray[np.bool_], group: NDArray[np.int32], similarity: Floats
    ) -> None:
        some = vectors[wanted]
        rows, cosines = np.empty((len(some), 1), np.int32), np.empty((len(some), 1), np.float32)
        self.index.search(some, rows, cosines)
        near = some.any(axis=1) & (cosines[:, 0] >= self.threshold)
        group[wanted] = np.where(near, rows[:, 0], -1)
        similarity[wanted] = np.where(some.any(axis=1), cosines[:, 0], 0)


def _read_only(array: NDArray[Any]) -> Any:
    """The array as Arrow's are: Numba compiles another variant for writeable arrays."""
    view = array.view()
    view.flags.writeable = False
    return view
