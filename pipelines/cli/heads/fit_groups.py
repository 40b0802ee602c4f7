"""`millstream head fit groups`: groups of records of the same kind, such as templates of log lines."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
import pyarrow as pa

from encoder.errors import ConfigurationError
from encoder.heads.groups import Groups
from pipelines.cli.console import ErrorConsole, Stages
from pipelines.cli.heads.fit_options import DestinationOptions, Text, print_outcome
from pipelines.cli.heads.publish import HeadTarget
from pipelines.cli.option_groups import expand_options
from pipelines.cli.options import AsJson, InputOptions, fit_option, input_option
from pipelines.cli.trust import verifying
from pipelines.records.fields import field_at, field_path
from pipelines.records.template import TextTemplate
from pipelines.sources.files.dialects import find_with_dialects
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import last_part
from pipelines.sources.files.schema import infer_schema
from pipelines.sources.files.texts import iterate_batches

if TYPE_CHECKING:
    from distill.heads.sequences import Sequences

__all__ = ["groups"]

_SHOWN = 10  # groups in the summary
_WIDTH = 90  # characters of their templates


@dataclass(frozen=True)
class _Records:
    """Records whose files exist and have the fields.

    Attributes:
        template: the text of a record.
        time: the dotted name of the field with its time, or None.
    """

    pattern: str
    template: TextTemplate
    time: str | None
    files: list[InputFile]
    schema: pa.Schema

    @classmethod
    def find(cls, files: InputOptions, text: str, time: str | None) -> Self:
        """Find the files, and check the fields.

        Raises:
            TemplateError: no record has one of the fields.
            InputError: there are no files, or the field holds no times.
        """
        from pipelines.records.event_time import event_times

        template = TextTemplate.parse(text)
        found = find_with_dialects(
            files.inputs, files.input_format, files.dialect.parse(), ErrorConsole().print
        )
        wanted = [*template.fields, *([] if time is None else [time])]
        schema = infer_schema(found, list(dict.fromkeys(wanted)), ())
        if time is not None:
            path = field_path(schema, time)
            assert path is not None
            event_times(field_at(pa.RecordBatch.from_pylist([], schema), path))
        return cls(files.inputs, template, time, found, schema)

    def read(self, target: HeadTarget, stages: Stages) -> "Sequences":
        """Count what the texts of all records consist of; examples are remembered."""
        from distill.heads.sequences import NEVER, Sequences
        from encoder.arrays.texts import read_texts
        from pipelines.records.event_time import NO_TIME, event_times

        found = Sequences(examples=True)
        path = None if self.time is None else field_path(self.schema, self.time)
        with stages.reading(sum(file.size for file in self.files)) as on_chunk:
            for batch in iterate_batches(self.files, self.schema, on_chunk):
                times = None
                if path is not None:
                    times = event_times(field_at(batch, path))
                    times = np.where(times == NO_TIME, NEVER, times)
                (texts,) = read_texts(self.template.apply(batch))
                found.add(target.model.masks.buffers(texts), times)
        return found


@verifying
@expand_options
def groups(
    destination: DestinationOptions,
    files: InputOptions,
    text: Text = "text",
    time: Annotated[
        str | None,
        input_option(
            metavar="FIELD", help="Field that holds a record's time, for when a group was first seen."
        ),
    ] = None,
    similarity: Annotated[
        str | None,
        fit_option(
            metavar="COSINE",
            help="Cosine from which records without a template join the nearest group: a number, or auto, "
            "which measures it.",
            show_default="templates alone",
        ),
    ] = None,
    min_size: Annotated[
        int, fit_option(min=1, metavar="N", help="Fewest records of a template; rarer ones are left out.")
    ] = 1,
    report_records: Annotated[
        bool,
        fit_option(
            "--report-records", help="Store a typical record of each group, masked, for people to read."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fit groups: records of the same kind, such as log lines of one statement. Needs no labels.

    Adds the ID of a record's group, its template and a similarity; nulls for a kind that the fit has not
    seen. With --replace, groups that are still there keep their IDs.
    """
    cosine = _cosine(similarity)
    target = destination.find()
    records = _Records.find(files, text, time)
    from distill.heads.groups import fit_groups, templates_of
    from encoder.encoder import Encoder

    before = target.head
    with Stages(ErrorConsole()) as stages:
        found = records.read(target, stages)
    every = templates_of(found)
    templates = [one for one in every if one.size >= min_size]
    if every and not templates:
        raise ConfigurationError(f"no template has {min_size:,} records: lower --min-size")
    vectors = None
    if similarity is not None and templates:
        from encoder.heads.scoring import unit_vectors

        vectors = unit_vectors(Encoder(target.model).encode([one.example for one in templates], masked=True))
    head = fit_groups(
        target.name,
        templates,
        target.model.dim,
        earlier=before if isinstance(before, Groups) else None,
        examples=report_records,
        vectors=vectors,
        threshold=cosine,
        metadata={"input": last_part(records.pattern), "text": records.template.source},
    )
    _deliver(target, head, found.n_texts, as_json=as_json)


def _cosine(similarity: str | None) -> float | None:
    if similarity in (None, "auto"):
        return None
    try:
        found = float(similarity or "")
    except ValueError:
        found = np.inf
    if not -1 <= found <= 1:
        raise ConfigurationError(f"--similarity is {similarity!r}: give a cosine up to 1, or auto")
    return found


def _deliver(target: HeadTarget, head: Groups, n_texts: int, *, as_json: bool) -> None:
    sizes, n_templates = head.sizes.tolist(), len(head.templates)
    outcome = {
        **target.deliver(head, {}),
        "groups": len(sizes),
        "templates": n_templates,
        "records": n_texts,
        "in_no_group": n_texts - sum(sizes),
        "threshold": None if head.vectors is None else head.threshold,
    }
    shape = (
        f"{len(sizes):,} groups"
        if head.vectors is None
        else f"{len(sizes):,} groups of {n_templates:,} templates"
    )
    lines = [f"  {shape} in {n_texts:,} records; groups with one record: {sizes.count(1):,}"]
    if outcome["in_no_group"]:
        lines.append(f"  {outcome['in_no_group']:,} records are in no group: their templates were too rare")
    if head.vectors is not None:
        lines.append(
            f"  records without a template join the nearest group from a cosine of {head.threshold:.3f}"
        )
    first = np.unique(head.group, return_index=True)[1]
    texts = head.templates.tolist()
    for size, k in list(zip(sizes, first.tolist(), strict=True))[:_SHOWN]:
        shown = texts[k] if len(texts[k]) <= _WIDTH else f"{texts[k][: _WIDTH - 1]}…"
        lines.append(f"  {size:>9,}  {shown}")
    print_outcome(outcome, "\n".join(lines), as_json=as_json)
