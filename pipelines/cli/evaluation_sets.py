"""Read the sets that a model is evaluated on: the user's own records, and standard sets from files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from encoder.errors import ConfigurationError, InputError, TemplateError
from encoder.uris import split_query
from pipelines.formats import FileFormat
from pipelines.formats.dialect import GUESSED, Dialect
from pipelines.records.template import TextTemplate
from pipelines.sources.files.dialects import find_with_dialects
from pipelines.sources.files.discovery import FORMATS
from pipelines.sources.files.schema import infer_schema
from pipelines.sources.files.texts import iterate_rows

if TYPE_CHECKING:
    from distill.evaluation import Classification, Labelled, Pairs, Records, Retrieval, Sets

__all__ = ["RECORDS", "SetFiles", "read_rows"]

RECORDS = "records"
"""The name of the set of the user's own records."""

_Row = tuple[str, ...]
_Warn = Callable[[str], None]
_ENDINGS = {ending for endings in FORMATS.values() for ending in endings} | {".gz", ".zst", ".zstd"}
_TITLE = "title"  # the one field that a passage may lack


@dataclass(frozen=True)
class SetFiles:
    """The files of the sets, by the names of the command line's options.

    Attributes:
        records: the user's own records, or None.
        text: a column or template, the text of a record.
        label: the field of a record's label, or None.
        input_format: the format of the records; None goes by the file extensions.
        delimiter: of CSV files, as are `quote` and `escape`; None is guessed from each file.
        encoding: of files of text; None is guessed.
        sts: files of pairs.
        classification: files or folders of labelled texts.
        retrieval: folders of passages, queries and relevance judgements.
        per_label: training texts of each label.
        sample: the maximum number of records, with distinct texts.
        seed: random seed of the sample.
    """

    records: str | None = None
    text: str = "text"
    label: str | None = None
    input_format: FileFormat | None = None
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str | None = None
    sts: Sequence[str] = ()
    classification: Sequence[str] = ()
    retrieval: Sequence[str] = ()
    per_label: int = 8
    sample: int = 2000
    seed: int = 0

    @classmethod
    def from_options(cls, options: Mapping[str, Any], **overrides: Any) -> Self:
        """Pick the files from a command's options; lists that were not given are None there."""
        known = {**options, **overrides}
        given = {each.name: known[each.name] for each in fields(cls)}
        return cls(**{name: value for name, value in given.items() if value is not None})

    @property
    def dialect(self) -> Dialect:
        """What the user says about files of text."""
        return Dialect.parse(self.delimiter, self.quote, self.escape, self.encoding)

    def __bool__(self) -> bool:
        return bool(self.records or self.sts or self.classification or self.retrieval)

    def read(self, warn: _Warn) -> "Sets":
        """Read all sets.

        Args:
            warn: called with a line about the records that were skipped.

        Raises:
            ConfigurationError: options contradict one another, or two sets have the same name.
            InputError: a file is missing or damaged, or does not hold such a set.
        """
        from distill.evaluation import Sets

        if self.label is not None and self.records is None:
            raise ConfigurationError("`label` names a field of the records: give them with `records`")
        sets = Sets(
            records=self._records(self.records, warn) if self.records is not None else None,
            pairs=tuple(_pairs(file, self.dialect, warn) for file in self.sts),
            classifications=tuple(
                _classification(files, self.per_label, self.dialect, warn) for files in self.classification
            ),
            retrievals=tuple(_retrieval(files, self.dialect, warn) for files in self.retrieval),
        )
        for names in (sets.pairs, sets.classifications, sets.retrievals):
            _check_names([each.name for each in names])
        return sets

    def _records(self, pattern: str, warn: _Warn) -> "Records":
        from distill.corpus_fit.sample import sample_distinct
        from distill.evaluation import Records

        templates = [self.text] if self.label is None else [self.text, self.label]
        rows = _complete_rows(
            pattern, templates, warn, self.input_format, dialect=self.dialect, label=self.label
        )
        drawn = sample_distinct(((row[0], row[-1]) for row in rows), self.sample, seed=self.seed)
        labels = None if self.label is None else [label for _, label in drawn]
        return Records(RECORDS, [text for text, _ in drawn], labels)


def _pairs(pattern: str, dialect: Dialect, warn: _Warn) -> "Pairs":
    from distill.evaluation import Pairs

    rows = read_rows(pattern, [["sentence1", "sentence2", "score"]], warn, dialect=dialect)
    first, second, scores = zip(*rows, strict=True)
    return Pairs(_name(pattern), first, second, [_number(pattern, score) for score in scores])


def _classification(spec: str, per_label: int, dialect: Dialect, warn: _Warn) -> "Classification":
    from distill.evaluation import Classification, Labelled
    from distill.evaluation.labelled import split_half

    def read(pattern: str) -> "Labelled":
        rows = read_rows(pattern, [["text", "label"]], warn, dialect=dialect, label="label")
        texts, labels = zip(*rows, strict=True)
        return Labelled(texts, labels)

    if "," not in spec and PurePosixPath(spec).suffix in _ENDINGS:
        whole = _distinct(read(spec), spec, warn)
        train, test = (
            Labelled([whole.texts[i] for i in rows], [whole.labels[i] for i in rows])
            for rows in split_half(whole.labels)
        )
        return Classification(_name(spec), train, test, per_label)
    parts = _parts("classification", spec, "train", "test")
    train, test = (read(part) for part in parts)
    return Classification(_name(spec.partition(",")[0]), train, test, per_label)


def _distinct(whole: "Labelled", spec: str, warn: _Warn) -> "Labelled":
    """Keep the first record of each text, so that no text is both trained and tested on."""
    from distill.evaluation import Labelled

    first: dict[str, int] = {}
    for i, text in enumerate(whole.texts):
        first.setdefault(text.strip(), i)
    if repeated := len(whole.texts) - len(first):
        warn(f"{spec}: skipped {repeated:,} records with a repeated text")
    rows = first.values()
    return Labelled([whole.texts[i] for i in rows], [whole.labels[i] for i in rows])


def _retrieval(spec: str, dialect: Dialect, warn: _Warn) -> "Retrieval":
    from distill.evaluation import Retrieval

    corpus, queries, qrels = _parts("retrieval", spec, "corpus", "queries", "qrels")
    ways = [[*names, "text"] for names in (["id", _TITLE], ["_id", _TITLE], ["id"], ["_id"])]
    passages = _by_id(corpus, read_rows(corpus, ways, warn, dialect=dialect), warn)
    questions = _by_id(queries, read_rows(queries, ways[2:], warn, dialect=dialect), warn)
    relevant: dict[str, dict[str, float]] = {}
    for query, passage, score in read_rows(
        qrels, [["query-id", "corpus-id", "score"]], warn, dialect=dialect
    ):
        gain = _number(qrels, score)
        if gain > 0:
            relevant.setdefault(query, {})[passage] = gain
    found = Retrieval(_name(spec.partition(",")[0]), passages, questions, relevant)
    _check_answers(found, corpus, queries, qrels, warn)
    return found


def _parts(option: str, spec: str, *names: str) -> list[str]:
    """Split a set's files: those of a folder, or those separated by commas."""
    parts = spec.split(",")
    if len(parts) == 1:
        return [f"{spec.rstrip('/')}/{name}.*" for name in names]
    if len(parts) != len(names):
        raise ConfigurationError(
            f"`{option}` is {spec}: give a folder, or {','.join(names).upper()}"
            + (", or one file" if option == "classification" else "")
        )
    return parts


def _by_id(pattern: str, rows: Sequence[_Row], warn: _Warn) -> dict[str, str]:
    """Map ids to texts, with the title in front; the first record of an id counts."""
    found: dict[str, str] = {}
    for one, *texts in rows:
        found.setdefault(one, " ".join(text for text in texts if text).strip())
    if repeated := len(rows) - len(found):
        warn(f"{pattern}: skipped {repeated:,} records with a repeated id")
    return found


def _check_answers(found: "Retrieval", corpus: str, queries: str, qrels: str, warn: _Warn) -> None:
    """Refuse files in which no query has an answer, and warn about missing answers."""
    answers = [set(found.relevant[query]) for query in found.queries if query in found.relevant]
    if not answers:
        raise InputError(f"no query of {queries} is in {qrels}: do the files belong together?")
    wanted = set().union(*answers)
    missing = len(wanted.difference(found.corpus))
    if missing == len(wanted):
        raise InputError(f"no passage of {qrels} is in {corpus}: do the files belong together?")
    if missing:
        warn(f"{qrels}: {missing:,} of {len(wanted):,} answers are not in {corpus} and count as not found")


def read_rows(
    pattern: str,
    ways: Sequence[Sequence[str]],
    warn: _Warn,
    *,
    dialect: Dialect = GUESSED,
    label: str | None = None,
) -> list[_Row]:
    """Read the complete rows of files, by the first list of fields that the files have.

    Args:
        pattern: the files.
        ways: lists of fields, tried in order. A row may lack its title.
        dialect: what the user says about files of text.
        warn: called with a line about the rows that were skipped.
        label: the field that must not be blank: CSV has no other way to leave a label out.

    Raises:
        TemplateError: no record has one of the fields of the last list.
        InputError: a file is missing or damaged, or no row is complete.
    """
    for names in ways:
        try:
            found = list(_complete_rows(pattern, names, warn, dialect=dialect, label=label, optional=_TITLE))
        except TemplateError:
            if names is ways[-1]:
                raise
            continue
        if not found:
            raise InputError(f"{pattern} has no complete record: each needs {' and '.join(names)}")
        break
    return found


def _complete_rows(
    pattern: str,
    templates: Sequence[str],
    warn: _Warn,
    input_format: FileFormat | None = None,
    *,
    dialect: Dialect = GUESSED,
    label: str | None = None,
    optional: str | None = None,
) -> Iterator[_Row]:
    """Yield the texts of the records that have all of them; warn at the end about those that do not."""
    parsed = [TextTemplate.parse(template) for template in templates]
    files = find_with_dialects(pattern, input_format, dialect, warn)
    names = list(dict.fromkeys(chain.from_iterable(template.fields for template in parsed)))
    schema = infer_schema(files, names, ())
    n_unreadable = n_incomplete = 0

    def on_chunk(_bytes: int, _records: int, bad: int) -> None:
        nonlocal n_unreadable
        n_unreadable += bad

    for row in iterate_rows(files, schema, parsed, on_chunk):
        complete = [
            text or ""
            for text, template in zip(row, templates, strict=True)
            if template == optional or (text is not None and (template != label or text.strip()))
        ]
        if len(complete) == len(row):
            yield tuple(complete)
        else:
            n_incomplete += 1
    if n_unreadable or n_incomplete:
        warn(
            f"{pattern}: skipped {n_unreadable:,} unreadable rows and {n_incomplete:,} without "
            f"{' or '.join(templates)}"
        )


def _number(pattern: str, score: str) -> float:
    try:
        return float(score)
    except ValueError:
        raise InputError(f"{pattern}: the score {score!r} is not a number") from None


def _name(pattern: str) -> str:
    """Name a set after its file, without extensions, or after its folder."""
    path = PurePosixPath(split_query(pattern)[0])
    name = path.name
    while PurePosixPath(name).suffix in _ENDINGS:
        name = PurePosixPath(name).stem
    return path.parent.name if name in ("train", "corpus") and path.parent.name else name


def _check_names(names: list[str]) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigurationError(f"two sets are called {twice!r}: rename one of the files")
