"""Groups: from the templates of a stream of texts to a head.

A template's id is a digest of its words, so equal templates have equal ids in every fit. Where a template has
become more general, its group keeps the id that it had in the version before.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distill.heads.sequences import NEVER, Sequence, Sequences
from distill.heads.similar_templates import chance_cosine, leaders
from encoder.arrays.texts import read_texts
from encoder.errors import InputError
from encoder.heads.cases import Strings
from encoder.heads.groups import Groups
from encoder.kernels.templates import VARIABLE

__all__ = ["Template", "fit_groups", "templates_of"]

_SHOWN = "<*>"
_ID = 12  # hexadecimal digits
_TITLE = 4  # words
_SHORTEST = 3  # letters of a word of a title


@dataclass(frozen=True, eq=False)
class Template:
    """A template of texts.

    Attributes:
        text: as a person reads it, with `<*>` for variables.
        words: its words, without variables that follow each other.
        rows: the sequences that it matches, as `Groups.rows` has them.
        size: how many texts it had.
        order: the number of the first one.
        time: the earliest time of these, in microseconds since 1970, or `NEVER`.
        example: a text that has it, masked; or nothing.
    """

    text: str
    words: tuple[str, ...]
    rows: tuple[str, ...]
    size: int
    order: int
    time: int
    example: str

    @property
    def id(self) -> str:
        """A digest of the words."""
        return hashlib.sha256(" ".join(self.words).encode()).hexdigest()[:_ID]


def templates_of(sequences: Sequences) -> list[Template]:
    """The templates of texts, the most frequent ones first."""
    found: dict[tuple[str, ...], list[tuple[str, Sequence]]] = {}
    for one in sequences.templates():
        row = _row(one)
        found.setdefault(_without_runs(row), []).append((" ".join(row), one))
    templates = [_template(words, members) for words, members in found.items()]
    return sorted(templates, key=lambda one: (-one.size, one.order))


def _row(one: Sequence) -> list[str]:
    words = [part.decode(errors="replace") for part in one.parts[1::2]]
    return [_SHOWN if hashed == VARIABLE else word for hashed, word in zip(one.words, words, strict=True)]


def _without_runs(row: list[str]) -> tuple[str, ...]:
    return tuple(word for k, word in enumerate(row) if word != _SHOWN or k == 0 or row[k - 1] != _SHOWN)


def _template(words: tuple[str, ...], members: list[tuple[str, Sequence]]) -> Template:
    first = max((one for _, one in members), key=lambda one: (one.size, -one.order))
    return Template(
        _readable(first),
        words,
        tuple(row for row, _ in members),
        sum(one.size for _, one in members),
        min(one.order for _, one in members),
        min(one.time for _, one in members),
        first.example.decode(errors="ignore"),
    )


def _readable(one: Sequence) -> str:
    """The template with what stands between its words."""
    text, unclosed = "", 0
    for k, word in enumerate(_row(one)):
        if k and word == _SHOWN and one.words[k - 1] == VARIABLE:
            continue
        text += _closed(one.parts[2 * k], unclosed) + word
        unclosed = len(one.parts[2 * k + 1]) if one.parts[2 * k + 1].strip(b"([{") == b"" else 0
    return " ".join((text + _closed(one.parts[-1], unclosed)).split())


def _closed(gap: bytes, unclosed: int) -> str:
    """What stands between two words, without the brackets that close what a variable opened."""
    text = gap.decode(errors="ignore")
    return text[unclosed:] if text[:unclosed].strip(")]}") == "" else text


def fit_groups(
    name: str,
    templates: list[Template],
    dim: int,
    *,
    earlier: Groups | None = None,
    examples: bool = False,
    vectors: NDArray[np.float32] | None = None,
    threshold: float | None = None,
    metadata: dict[str, Any] | None = None,
) -> Groups:
    """Make a head of templates; each is a group, or those of one text join groups that are near.

    Args:
        name: the name of the head.
        templates: from `templates_of`.
        dim: the number of dimensions of the model.
        earlier: the head of the version before, whose ids are kept.
        examples: whether the head holds a typical record of each group.
        vectors: `(n_templates, dim)` of the templates' examples, of length 1; None leaves each template to
            itself.
        threshold: the least cosine with a group that they join; None measures it, as
            `distill.heads.similar_templates` says.
        metadata: what the head stores besides; any JSON.

    Raises:
        InputError: there are no templates.
    """
    if not templates:
        raise InputError("no record has a text with a word, so there are no groups: is the text right?")
    groups, metadata = [[one] for one in templates], metadata or {}
    if vectors is not None:
        threshold = chance_cosine(vectors) if threshold is None else threshold
        metadata = {**metadata, "threshold": threshold}
        leader = leaders(vectors, threshold, np.array([one.size > 1 for one in templates]))
        members: dict[int, list[Template]] = {}
        for one, k in zip(templates, leader.tolist(), strict=True):
            members.setdefault(k, []).append(one)
        order = sorted(members, key=lambda k: (-sum(one.size for one in members[k]), k))
        groups, vectors = [members[k] for k in order], vectors[order]
    head = _head(name, groups, dim, metadata, examples=examples)
    if vectors is not None and threshold is not None:
        head = replace(head, vectors=vectors.astype(np.float16), threshold=threshold)
    return head if earlier is None else _as_before(head, earlier)


def _head(
    name: str, groups: list[list[Template]], dim: int, metadata: dict[str, Any], *, examples: bool
) -> Groups:
    templates = [one for some in groups for one in some]
    rows = [(row.count(" "), row, k) for k, one in enumerate(templates) for row in one.rows]
    rows.sort(key=lambda row: row[0])  # as they come, among equals
    sizes = [sum(one.size for one in some) for some in groups]
    return Groups(
        name,
        ids=Strings.of([some[0].id for some in groups]),
        titles=Strings.of(_titles(groups)),
        sizes=np.array(sizes, np.int64),
        first_seen=Strings.of([_iso(min(one.time for one in some)) for some in groups]),
        examples=Strings.of([some[0].example if examples else "" for some in groups]),
        templates=Strings.of([one.text for one in templates]),
        group=np.repeat(np.arange(len(groups), dtype=np.int32), [len(some) for some in groups]),
        rows=Strings.of([row for _, row, _ in rows]),
        template=np.array([k for _, _, k in rows], np.int32),
        dim=dim,
        metadata={**metadata, "groups": len(groups), "templates": len(templates), "records": sum(sizes)},
    )


def _titles(groups: list[list[Template]]) -> list[str]:
    """The words of each group that fewest others have, in their order."""
    words = [list(dict.fromkeys(word for one in some for word in one.words)) for some in groups]
    groups_with = Counter(word for some in words for word in some)
    titles = []
    for some in words:
        telling = [word for word in some if sum(map(str.isalpha, word)) >= _SHORTEST] or some
        chosen = set(sorted(telling, key=lambda word: groups_with[word])[:_TITLE])
        titles.append(" ".join(word for word in telling if word in chosen))
    return titles


def _iso(time: int) -> str:
    return "" if time == NEVER else str(np.datetime64(time, "us").astype("datetime64[s]")) + "Z"


def _as_before(head: Groups, earlier: Groups) -> Groups:
    """A head whose groups have the ids and the first times of the earlier ones that they still are."""
    ids, before = head.ids.tolist(), earlier.ids.tolist()
    places = {one: k for k, one in enumerate(ids)}
    rows = [row.replace(_SHOWN, "<v>") for row in earlier.rows.tolist()]  # `<v>` is read as a variable
    (texts,) = read_texts(pa.array(rows, pa.large_string()))
    found, similarity = head.tables.match(texts)
    groups = earlier.group[earlier.template].tolist()
    claims = {
        (group, int(head.group[head.template[row]]))
        for group, row, same in zip(groups, found.tolist(), (similarity == 1).tolist(), strict=True)
        if same
    }
    claims |= {(group, places[one]) for group, one in enumerate(before) if one in places}
    times, earlier_times = head.first_seen.tolist(), earlier.first_seen.tolist()
    kept: dict[int, int] = {}
    taken = set[str]()
    for group, now in sorted(claims, key=lambda pair: (-int(earlier.sizes[pair[0]]), pair)):
        times[now] = min(filter(None, (times[now], earlier_times[group])), default="")
        if now not in kept and before[group] not in taken:
            kept[now] = group
            taken.add(before[group])
    for now, one in enumerate(ids):
        if now in kept:
            ids[now] = before[kept[now]]
        elif one in taken:  # of a group that has become another one
            ids[now] = hashlib.sha256(f"{one} again".encode()).hexdigest()[:_ID]
    return replace(head, ids=Strings.of(ids), first_seen=Strings.of(times))
