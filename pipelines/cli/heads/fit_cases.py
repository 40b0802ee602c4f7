"""`millstream head fit cases`: known cases, new, or with some more or fewer."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from encoder.errors import ConfigurationError
from encoder.heads.cases import MOST_NEAREST, Cases
from pipelines.cli.console import ErrorConsole, Stages
from pipelines.cli.heads.fit_options import DestinationOptions, Seed, Text, fitted_to, print_outcome
from pipelines.cli.heads.labelled_records import LabelledRecords
from pipelines.cli.heads.publish import HeadTarget
from pipelines.cli.option_groups import expand_options
from pipelines.cli.options import INPUTS, AsJson, InputOptions, fit_option, input_option, split_names
from pipelines.cli.trust import verifying

if TYPE_CHECKING:
    from distill.heads.cases import CasesReport
    from distill.heads.examples import Examples

__all__ = ["cases"]


@dataclass(frozen=True, kw_only=True)
class CaseOptions(InputOptions):
    """The records that are known cases; only `--remove` needs none."""

    inputs: Annotated[str | None, INPUTS] = None  # type: ignore[assignment] # without files there is only something to remove
    label: Annotated[str | None, input_option(metavar="FIELD", help="Field that holds the label.")] = None
    case_id: Annotated[
        str | None,
        input_option(
            "--id",
            metavar="FIELD",
            help="Field that holds the ID: a column or a template.",
            show_default="the record's number",
        ),
    ] = None
    text: Text = "text"

    def find(self) -> LabelledRecords:
        """Find the files, and check the fields.

        Raises:
            ConfigurationError: an option is missing, or a record may have several labels.
            TemplateError, InputError: those of `LabelledRecords.find`.
        """
        if self.inputs is None or self.label is None:
            raise ConfigurationError("which records are the cases? Give --input FILES and --label FIELD")
        records = LabelledRecords.find(self, self.text, self.label, identity=self.case_id)
        if records.multi_label:
            raise ConfigurationError(
                f"`label` is {self.label}, a list, but a case has one label: give another field"
            )
        return records


@verifying
@expand_options
def cases(
    destination: DestinationOptions,
    files: CaseOptions,
    nearest: Annotated[
        int,
        fit_option(min=1, max=MOST_NEAREST, metavar="K", help="Nearest cases to add to a record."),
    ] = 1,
    precision: Annotated[
        float,
        fit_option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Share of nearest cases whose label should be right.",
        ),
    ] = 0.95,
    threshold: Annotated[
        float | None,
        fit_option(
            min=-1,
            max=1,
            metavar="COSINE",
            help="Lowest cosine that counts as near.",
            show_default="measured by leaving cases out",
        ),
    ] = None,
    add: Annotated[
        bool, fit_option("--add", help="Add to the head's cases; those with the same ID are replaced.")
    ] = False,
    remove: Annotated[
        str | None,
        fit_option(metavar="IDS", help="IDs of cases to remove: ID,ID or @FILE with one a line."),
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Fit known cases: the labelled records, such as past frauds, that a record is nearest to.

    Adds the ID, the label and the cosine of the nearest case, or nulls where none is near enough. IDs, labels
    and vectors are stored, texts are not.
    """
    if remove is not None and files.inputs is not None and not add:
        raise ConfigurationError("--remove changes a head, and --input makes a new one: give --add too")
    if add and files.case_id is None:
        raise ConfigurationError("--add needs IDs, to tell which cases are new: give --id FIELD")
    target = destination.find(changes=add or remove is not None)
    before = _cases_of(target) if target.changes else None
    records = None if before is not None and files.inputs is None else files.find()
    from distill.heads import fit_cases, with_cases, without_cases

    if before is not None and remove is not None:
        before = without_cases(before, _ids(remove))
    report = None
    if records is None:
        assert before is not None
        head = before
    else:
        with Stages(ErrorConsole()) as stages:
            examples, ids = _embedded(target, records, stages)
        if before is not None:
            head = with_cases(before, examples, ids)
        else:
            head, report = fit_cases(
                target.name,
                examples,
                ids,
                nearest=nearest,
                precision=precision,
                threshold=threshold,
                seed=seed,
                metadata=fitted_to(records),
            )
    _deliver(target, head, report, as_json=as_json)


def _cases_of(target: HeadTarget) -> Cases:
    head = target.head
    if not isinstance(head, Cases):
        kind = "" if head is None else head.kind
        raise ConfigurationError(f"the head {target.name!r} is a {kind}, not cases: give another `name`")
    return head


def _ids(text: str) -> set[str]:
    """The ids in a list, or in a file that is named.

    Raises:
        ConfigurationError: the file cannot be read, or there are none.
    """
    if not text.startswith("@"):
        found = set(split_names(text) or ())
    else:
        try:
            lines = Path(text[1:]).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot read --remove {text}: {error}") from error
        found = {one for line in lines if (one := line.strip())}
    if not found:
        raise ConfigurationError("--remove names no case: give IDs, separated by commas")
    return found


def _embedded(target: HeadTarget, records: LabelledRecords, stages: Stages) -> "tuple[Examples, list[str]]":
    from distill.heads import embed
    from distill.heads.cases import MAX_CASES
    from encoder.encoder import Encoder

    found = records.read_with_ids(stages, MAX_CASES)
    examples = embed(Encoder(target.model), [one.text for one in found], [one.labels or () for one in found])
    return examples, [one.id or "" for one in found]


def _deliver(target: HeadTarget, head: Cases, report: "CasesReport | None", *, as_json: bool) -> None:
    quality = {} if report is None else {"precision": report.precision.value, "recall": report.recall.value}
    outcome = {**target.deliver(head, quality), "cases": len(head.ids), "labels": len(head.labels)}
    outcome |= {"threshold": head.threshold, "report": None if report is None else asdict(report)}
    numbers = f"  {len(head.ids):,} cases, {len(head.labels):,} labels"
    summary = f"{numbers}; a match from a cosine of {head.threshold:.3f}"
    if report is not None:
        precision, recall = report.precision, report.recall
        summary += (
            f"\n  left out: of {report.left_out:,} texts, {recall.value:.1%} ({recall.low:.1%} to "
            f"{recall.high:.1%}) find a case of their label\n  and {precision.value:.1%} "
            f"({precision.low:.1%} to {precision.high:.1%}) of what is found is right"
        )
    print_outcome(outcome, summary, as_json=as_json)
