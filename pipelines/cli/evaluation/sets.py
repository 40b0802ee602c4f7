"""Standard evaluation sets from files: scored pairs, labelled texts, and queries with their answers."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from encoder.errors import ConfigurationError, InputError
from encoder.uris import split_query
from pipelines.cli.evaluation.rows import TITLE, Row, Warn, read_rows
from pipelines.formats.dialect import Dialect
from pipelines.sources.files.discovery import FORMATS

if TYPE_CHECKING:
    from distill.evaluation import Classification, Labelled, Pairs, Retrieval

__all__ = ["read_classification", "read_pairs", "read_retrieval"]

_ENDINGS = {ending for endings in FORMATS.values() for ending in endings} | {".gz", ".zst", ".zstd"}


def read_pairs(pattern: str, dialect: Dialect, warn: Warn) -> "Pairs":
    from distill.evaluation import Pairs

    rows = read_rows(pattern, [["sentence1", "sentence2", "score"]], warn, dialect=dialect)
    first, second, scores = zip(*rows, strict=True)
    return Pairs(_name(pattern), first, second, [_number(pattern, score) for score in scores])


def read_classification(spec: str, per_label: int, dialect: Dialect, warn: Warn) -> "Classification":
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


def _distinct(whole: "Labelled", spec: str, warn: Warn) -> "Labelled":
    """Keep the first record of each text, so that no text is both trained and tested on."""
    from distill.evaluation import Labelled

    first: dict[str, int] = {}
    for i, text in enumerate(whole.texts):
        first.setdefault(text.strip(), i)
    if repeated := len(whole.texts) - len(first):
        warn(f"{spec}: skipped {repeated:,} records with a repeated text")
    rows = first.values()
    return Labelled([whole.texts[i] for i in rows], [whole.labels[i] for i in rows])


def read_retrieval(spec: str, dialect: Dialect, warn: Warn) -> "Retrieval":
    from distill.evaluation import Retrieval

    corpus, queries, qrels = _parts("retrieval", spec, "corpus", "queries", "qrels")
    ways = [[*names, "text"] for names in (["id", TITLE], ["_id", TITLE], ["id"], ["_id"])]
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


def _by_id(pattern: str, rows: Sequence[Row], warn: Warn) -> dict[str, str]:
    """Map ids to texts, with the title in front; the first record of an id counts."""
    found: dict[str, str] = {}
    for one, *texts in rows:
        found.setdefault(one, " ".join(text for text in texts if text).strip())
    if repeated := len(rows) - len(found):
        warn(f"{pattern}: skipped {repeated:,} records with a repeated id")
    return found


def _check_answers(found: "Retrieval", corpus: str, queries: str, qrels: str, warn: Warn) -> None:
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
