"""Between a new model and its publication: measure it, hold it to what is required, report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from encoder.errors import InputError, NotInStore, QualityTooLow
from pipelines.cli.console import ErrorConsole
from pipelines.cli.evaluation_sets import SetFiles

if TYPE_CHECKING:
    from distill.evaluation import EmbeddingModel, Evaluation, Requirement, Sets
    from encoder.model import StaticModel

__all__ = ["REPORT_FILE", "Measured", "Plan", "previous_version", "quality_of", "unmeasured"]

REPORT_FILE = "report.html"
"""The report's name among the files of a version."""

HELD_OUT = "held-out"
"""The name of the set that a corpus leaves over."""

_FEWEST = 50  # held-out texts that are worth measuring on
_AGREEMENT = ("overlap@10", "rank-correlation")


@dataclass(frozen=True)
class Measured:
    """A model that may be published.

    Attributes:
        report: the page.
        evaluations: of the model, then of its teacher and of the others beside it; none where there was
            nothing to measure on.
        quality: the manifest's.
    """

    report: str
    evaluations: "tuple[Evaluation, ...]" = ()
    quality: dict[str, Any] | None = None


@dataclass(frozen=True)
class Plan:
    """What will be measured, checked and read before the model is made.

    Attributes:
        sets: what the flags name.
        requirements: what the model must reach.
        from_corpus: whether texts that the corpus leaves over are the records.
    """

    sets: "Sets"
    requirements: "tuple[Requirement, ...]"
    from_corpus: bool

    @classmethod
    def make(cls, files: SetFiles, require: Sequence[str], *, corpus: bool) -> "Plan":
        """Read the requirements and the sets.

        Raises:
            ConfigurationError: a requirement cannot be read, or nothing that is given measures it.
            InputError: a set cannot be read, or measures nothing.
        """
        from distill.evaluation import (
            Records,
            Requirement,
            check_measurable,
            check_sets,
        )

        requirements = tuple(Requirement.parse(each) for each in require)
        sets = files.read(ErrorConsole().print)
        check_sets(sets, reference=True)
        from_corpus = corpus and sets.records is None
        will_be = replace(sets, records=Records(HELD_OUT, ())) if from_corpus else sets
        check_measurable(requirements, will_be, reference=True)
        return cls(sets, requirements, from_corpus)

    @property
    def may_have_work(self) -> bool:
        """Whether there may be something to measure on, as far as flags tell."""
        return bool(self.sets) or self.from_corpus

    def has_work(self, held_out: Sequence[str]) -> bool:
        """Whether there is something to measure on.

        Raises:
            InputError: the corpus leaves too few texts to measure what is required.
        """
        enough = self.from_corpus and len(held_out) >= _FEWEST
        if self.from_corpus and not enough and any(each.metric in _AGREEMENT for each in self.requirements):
            raise InputError(
                f"the corpus leaves {len(held_out)} texts over, and agreement needs {_FEWEST}: give --input"
            )
        return bool(self.sets) or enough

    def measure(
        self,
        model: "StaticModel",
        name: str,
        held_out: Sequence[str],
        others: "Sequence[EmbeddingModel]",
        *,
        sample: int,
        shown: int,
        facts: dict[str, Any],
        parameters: dict[str, Any],
    ) -> Measured:
        """Measure a model and those beside it, the first of which is the reference.

        Raises:
            QualityTooLow: the model does not reach what is required.
        """
        from distill.evaluation import Records, static_model, unmet
        from distill.report import render_report

        sets = self.sets
        if self.from_corpus and len(held_out) >= _FEWEST:
            sets = replace(sets, records=Records(HELD_OUT, held_out[:sample]))
        evaluations = quality_of(static_model(model, name), others, sets)
        if problems := unmet(self.requirements, evaluations[0].figures):
            raise QualityTooLow(
                f"{name} is below what is required, so nothing was published: {'; '.join(problems)}"
            )
        page = render_report(
            model,
            evaluations,
            texts=sets.texts(),
            records=sets.records,
            shown=shown,
            facts=facts,
            parameters=parameters,
        )
        return Measured(page, evaluations, _for_manifest(evaluations))


def unmeasured(
    model: "StaticModel", name: str, *, facts: dict[str, Any], parameters: dict[str, Any]
) -> Measured:
    """A model that there is nothing to measure on, and the page that says so."""
    from distill.report import render_word_report

    return Measured(render_word_report(model, name, facts=facts, parameters=parameters))


def quality_of(
    model: "EmbeddingModel", others: "Sequence[EmbeddingModel]", sets: "Sets"
) -> "tuple[Evaluation, ...]":
    """Measure a model and others on the same sets; agreement is with the first of the others."""
    from distill.evaluation import evaluate

    with ErrorConsole().status("") as status:
        beside: list[Evaluation] = []
        for other in others:
            against = beside[0] if beside else None
            beside.append(evaluate(other, sets, against=against, on_progress=status.update))
        against = beside[0] if beside else None
        own = evaluate(model, sets, against=against, on_progress=status.update)
    return own, *beside


def previous_version(uri: str) -> "list[EmbeddingModel]":
    """The latest version in a store, if there is one."""
    from distill.evaluation import open_model
    from encoder.store.store import ModelStore

    try:
        manifest = ModelStore.open(uri).manifest()
    except NotInStore:
        return []
    return [open_model(f"{uri}@{manifest.version}")]


def _for_manifest(evaluations: "Sequence[Evaluation]") -> dict[str, Any]:
    own, *others = (one.to_json() for one in evaluations)
    return {
        "figures": own["figures"],
        "reference": own["reference"],
        "texts_per_second": round(own["texts_per_second"]),
        "beside": [{"model": each["model"], "figures": each["figures"]} for each in others],
    }
