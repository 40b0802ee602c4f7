"""Reading what a model is measured on: the user's own records, and standard sets in their files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from encoder.errors import ConfigurationError, InputError
from encoder.uris import split_query
from pipelines.cli.set_rows import all_rows, complete_rows, first_that_fits, number
from pipelines.formats import FileFormat
from pipelines.sources.files.discovery import FORMATS

if TYPE_CHECKING:
    from distill.evaluation import Classification, Labelled, Pairs, Records, Retrieval, Sets

__all__ = ["RECORDS", "SetFiles"]

RECORDS = "records"
"""The name of the user's own records among the sets."""

_ENDINGS = {ending for endings in FORMATS.values() for ending in endings} | {".gz", ".zst", ".zstd"}
_TRAIN_AND_TEST, _CORPUS_QUERIES_AND_QRELS = 2, 3  # files that are named with commas between them


@dataclass(frozen=True)
class SetFiles:
    """Where the sets are: what the flags of the same names say.

    Attributes:
        input: the user's own records, or None.
        text: their text.
        label: the field of their label, or None.
        input_format: their format, or None to go by the extensions.
        sts: files of pairs.
        classification: files or folders of labelled texts.
        retrieval: folders of passages, queries and relevance.
        per_label: training texts of each label.
        sample: so many distinct texts of the records are used.
        seed: of the sample.
    """

    input: str | None = None
    text: str = "text"
    label: str | None = None
    input_format: FileFormat | None = None
    sts: Sequence[str] = ()
    classification: Sequence[str] = ()
    retrieval: Sequence[str] = ()
    per_label: int = 8
    sample: int = 2000
    seed: int = 0

    def __bool__(self) -> bool:
        return bool(self.input or self.sts or self.classification or self.retrieval)

    def read(self, say: Callable[[str], None]) -> "Sets":
        """Read all sets.

        Args:
            say: called with what was passed over.

        Raises:
            ConfigurationError: flags contradict one another, or two sets have the same name.
            InputError: a file is not there, is damaged, or is no such set.
        """
        from distill.evaluation import Sets

        if self.label is not None and self.input is None:
            raise ConfigurationError("--label is a field of the records: give them by --input")
        sets = Sets(
            records=self._records(self.input, say) if self.input is not None else None,
            pairs=tuple(_pairs(file, say) for file in self.sts),
            classifications=tuple(
                _classification(files, self.per_label, say) for files in self.classification
            ),
            retrievals=tuple(_retrieval(files, say) for files in self.retrieval),
        )
        for names in (sets.pairs, sets.classifications, sets.retrievals):
            _check_names([each.name for each in names])
        return sets

    def _records(self, pattern: str, say: Callable[[str], None]) -> "Records":
        from distill.corpus_fit.sample import sample_distinct
        from distill.evaluation import Records

        templates = [self.text] if self.label is None else [self.text, self.label]
        rows = complete_rows(pattern, templates, say, self.input_format, label=self.label)
        drawn = sample_distinct(((row[0], row[-1]) for row in rows), self.sample, seed=self.seed)
        labels = None if self.label is None else [label for _, label in drawn]
        return Records(RECORDS, [text for text, _ in drawn], labels)


def _pairs(pattern: str, say: Callable[[str], None]) -> "Pairs":
    from distill.evaluation import Pairs

    rows = all_rows(pattern, ["sentence1", "sentence2", "score"], say)
    first, second, scores = zip(*rows, strict=True)
    return Pairs(_name(pattern), first, second, [number(pattern, "score", score) for score in scores])


def _classification(spec: str, per_label: int, say: Callable[[str], None]) -> "Classification":
    from distill.evaluation import Classification, Labelled
    from distill.evaluation.labelled import halves

    def read(pattern: str) -> "Labelled":
        texts, labels = zip(*all_rows(pattern, ["text", "label"], say, label="label"), strict=True)
        return Labelled(texts, labels)

    parts = spec.split(",")
    if len(parts) == 1 and _is_file(spec):
        whole = _distinct(read(spec), spec, say)
        train, test = (
            Labelled([whole.texts[i] for i in rows], [whole.labels[i] for i in rows])
            for rows in halves(whole.labels)
        )
        return Classification(_name(spec), train, test, per_label)
    if len(parts) == 1:
        parts = [f"{spec.rstrip('/')}/train.*", f"{spec.rstrip('/')}/test.*"]
    if len(parts) != _TRAIN_AND_TEST:
        raise ConfigurationError(f"--classification {spec}: give a folder, a file, or TRAIN,TEST")
    train, test = (read(part) for part in parts)
    return Classification(_name(spec.partition(",")[0]), train, test, per_label)


def _distinct(whole: "Labelled", spec: str, say: Callable[[str], None]) -> "Labelled":
    """The first record of each text: no text may be learnt from and asked about."""
    from distill.evaluation import Labelled

    first: dict[str, int] = {}
    for i, text in enumerate(whole.texts):
        first.setdefault(text.strip(), i)
    if repeated := len(whole.texts) - len(first):
        say(f"{spec}: passed over {repeated:,} records whose text came before")
    rows = first.values()
    return Labelled([whole.texts[i] for i in rows], [whole.labels[i] for i in rows])


def _retrieval(spec: str, say: Callable[[str], None]) -> "Retrieval":
    from distill.evaluation import Retrieval

    parts = spec.split(",")
    if len(parts) == 1:
        root = spec.rstrip("/")
        parts = [f"{root}/corpus.*", f"{root}/queries.*", f"{root}/qrels.*"]
    if len(parts) != _CORPUS_QUERIES_AND_QRELS:
        raise ConfigurationError(f"--retrieval {spec}: give a folder, or CORPUS,QUERIES,QRELS")
    corpus, queries, qrels = parts
    passages = first_that_fits(
        corpus, [["id", "title", "text"], ["_id", "title", "text"], ["id", "text"], ["_id", "text"]], say
    )
    asked = first_that_fits(queries, [["id", "text"], ["_id", "text"]], say)
    relevant: dict[str, dict[str, float]] = {}
    for query, passage, score in all_rows(qrels, ["query-id", "corpus-id", "score"], say):
        gain = number(qrels, "score", score)
        if gain > 0:
            relevant.setdefault(query, {})[passage] = gain
    found = Retrieval(
        _name(spec.partition(",")[0]), _by_id(corpus, passages, say), _by_id(queries, asked, say), relevant
    )
    _check_belongs(found, parts, say)
    return found


def _by_id(pattern: str, rows: Sequence[tuple[str, ...]], say: Callable[[str], None]) -> dict[str, str]:
    """The text of each id, of its title and the rest; of several records with an id that of the first."""
    found: dict[str, str] = {}
    for one, *texts in rows:
        found.setdefault(one, " ".join(text for text in texts if text).strip())
    if repeated := len(rows) - len(found):
        say(f"{pattern}: passed over {repeated:,} records whose id came before")
    return found


def _check_belongs(found: "Retrieval", parts: Sequence[str], say: Callable[[str], None]) -> None:
    """Refuse files of which no query has an answer, and say how many answers are missing."""
    corpus, queries, qrels = parts
    answers = [set(found.relevant[query]) for query in found.queries if query in found.relevant]
    if not answers:
        raise InputError(f"no query of {queries} is in {qrels}: do the files belong together?")
    wanted = set().union(*answers)
    missing = len(wanted.difference(found.corpus))
    if missing == len(wanted):
        raise InputError(f"no passage of {qrels} is in {corpus}: do the files belong together?")
    if missing:
        say(f"{qrels}: {missing:,} of {len(wanted):,} answers are not in {corpus}, and count as not found")


def _is_file(pattern: str) -> bool:
    return PurePosixPath(pattern).suffix in _ENDINGS


def _name(pattern: str) -> str:
    """The name of a set: its file's without extensions, or its folder's."""
    path = PurePosixPath(split_query(pattern)[0])
    name = path.name
    while PurePosixPath(name).suffix in _ENDINGS:
        name = PurePosixPath(name).stem
    return path.parent.name if name in ("train", "corpus") and path.parent.name else name


def _check_names(names: list[str]) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigurationError(f"two sets are called {twice!r}: rename one of the files")
