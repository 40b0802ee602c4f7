"""The quality gate: measure a new model, check its requirements, and write its report before publication."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from encoder.errors import ConfigurationError, NotInStore, QualityTooLow
from pipelines.cli.console import ErrorConsole
from pipelines.cli.evaluation.options import SetOptions

if TYPE_CHECKING:
    from distill.evaluation import EmbeddingModel, Evaluation, Requirement, Sets
    from encoder.model import StaticModel

__all__ = [
    "REPORT_FILE",
    "Measured",
    "Plan",
    "measure_models",
    "previous_version",
    "unmeasured",
    "with_model",
]

REPORT_FILE = "report.html"
"""The report's name among the files of a version."""

HELD_OUT = "held-out"
"""The name of the set of a corpus's held-out texts."""

_MIN_HELD_OUT = 50  # with fewer texts, agreement is not measured
_AGREEMENT = ("overlap@10", "rank-correlation")


@dataclass(frozen=True)
class Measured:
    """A model that passed the gate.

    Attributes:
        report: the HTML page.
        evaluations: of the model, its teacher, and the other models; empty if nothing could be measured.
        quality: the manifest's quality figures.
    """

    report: str
    evaluations: "tuple[Evaluation, ...]" = ()
    quality: dict[str, Any] | None = None


@dataclass(frozen=True)
class Plan:
    """What to measure and require, read and checked before the model is made.

    Attributes:
        sets: the sets that the options name.
        requirements: what the model must reach.
        from_corpus: whether the corpus's held-out texts serve as the records.
    """

    sets: "Sets"
    requirements: "tuple[Requirement, ...]"
    from_corpus: bool

    @classmethod
    def make(cls, files: SetOptions, require: Sequence[str], *, corpus: bool) -> "Plan":
        """Read the requirements and the sets.

        Raises:
            ConfigurationError: a requirement is invalid, or no set measures it.
            InputError: a set cannot be read, or measures nothing.
        """
        from distill.evaluation import Records, Requirement, check_measurable, check_sets

        requirements = tuple(Requirement.parse(each) for each in require)
        sets = files.read(ErrorConsole().print)
        check_sets(sets, reference=True)
        from_corpus = corpus and sets.records is None
        will_be = replace(sets, records=Records(HELD_OUT, ())) if from_corpus else sets
        check_measurable(requirements, will_be, reference=True)
        return cls(sets, requirements, from_corpus)

    @property
    def min_held_out(self) -> int:
        """The number of texts that the corpus must hold out for the requirements."""
        needed = self.from_corpus and any(each.metric in _AGREEMENT for each in self.requirements)
        return _MIN_HELD_OUT if needed else 1

    @property
    def may_measure(self) -> bool:
        """Whether the options may give something to measure on."""
        return bool(self.sets) or self.from_corpus

    def can_measure(self, held_out: Sequence[str]) -> bool:
        """Whether there is something to measure on."""
        return bool(self.sets) or (self.from_corpus and len(held_out) >= _MIN_HELD_OUT)

    def measure(
        self,
        model: "StaticModel",
        name: str,
        held_out: Sequence[str],
        others: "Sequence[EmbeddingModel]",
        *,
        sample: int,
        shown: int,
        metadata: dict[str, Any],
        parameters: dict[str, Any],
    ) -> Measured:
        """Measure a model beside others, the first of which is the reference.

        Raises:
            QualityTooLow: the model misses a requirement.
        """
        from distill.evaluation import Records, static_model, unmet
        from distill.report import render_report

        sets = self.sets
        if self.from_corpus and len(held_out) >= _MIN_HELD_OUT:
            sets = replace(sets, records=Records(HELD_OUT, held_out[:sample]))
        evaluations = measure_models([static_model(model, name), *others], sets)
        if problems := unmet(self.requirements, evaluations[0].figures):
            raise QualityTooLow(
                f"{name} misses its requirements, so nothing was published: {'; '.join(problems)}"
            )
        page = render_report(
            model,
            evaluations,
            texts=sets.texts(),
            records=sets.records,
            shown=shown,
            metadata=metadata,
            parameters=parameters,
        )
        return Measured(page, evaluations, _for_manifest(evaluations))


def unmeasured(
    model: "StaticModel", name: str, *, metadata: dict[str, Any], parameters: dict[str, Any]
) -> Measured:
    """Write the report of a model for which there is nothing to measure on."""
    from distill.report import render_word_report

    return Measured(render_word_report(model, name, metadata=metadata, parameters=parameters))


def with_model(measured: Measured, model: "StaticModel") -> Measured:
    """Put the model into its report; say so if that does not work, since the model is worth more."""
    from distill.report import model_files, page_with_model
    from encoder.model import save_model

    with TemporaryDirectory(prefix="millstream-") as work:
        try:
            page = page_with_model(measured.report, model_files(save_model(model, Path(work) / "model")))
        except ConfigurationError as error:
            ErrorConsole().print(f"--report-model: {error}")
            return measured
    return replace(measured, report=page)


def measure_models(models: "Sequence[EmbeddingModel]", sets: "Sets") -> "tuple[Evaluation, ...]":
    """Evaluate models on the same sets, with the second one as the reference, and show the progress."""
    from distill.evaluation import evaluate_all

    with ErrorConsole().status("") as status:
        return evaluate_all(models, sets, progress=status.update)


def previous_version(uri: str) -> "list[EmbeddingModel]":
    """Open the latest version in a store, if there is one."""
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
