"""`millstream models report`: the page about a version, as it was published or made anew."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from encoder.errors import ConfigurationError, OutputConflict
from encoder.reference import parse
from pipelines.cli.console import ErrorConsole
from pipelines.cli.evaluation.options import Against, ReportModel, ReportRecords, SetOptions
from pipelines.cli.evaluation.quality_gate import REPORT_FILE, measure_models
from pipelines.cli.option_groups import expand_options
from pipelines.cli.options import RefArgument, output_option

if TYPE_CHECKING:
    from encoder.model import StaticModel

__all__ = ["report"]


@dataclass(frozen=True)
class _Version:
    """A model folder, and its manifest's entries if it is a version in a store."""

    folder: Path
    metadata: Mapping[str, Any]
    parameters: Mapping[str, Any]


@expand_options
def report(
    *,
    ref: RefArgument,
    output: Annotated[
        Path, output_option("--output", metavar="FILE", help="New file to write the report to.")
    ] = Path(REPORT_FILE),
    against: Against = None,
    sets: SetOptions,
    report_records: ReportRecords = 0,
    report_model: ReportModel = False,
) -> None:
    """Write the report of a version, as one HTML page.

    With evaluation sets, it is a new report. Without, it is the one that was published with the version,
    or a report without figures if there is none.
    """
    _check_output(output)
    if not sets and (against or report_records):
        raise ConfigurationError(
            "a new report needs evaluation sets: give --input, --sts, --classification or --retrieval"
        )
    version = _open(ref)
    if not sets and (version.folder / REPORT_FILE).is_file():
        page = (version.folder / REPORT_FILE).read_text(encoding="utf-8")
    else:
        page = _render(ref, version, sets, against or [], report_records)
    if report_model:
        from distill.report import model_files, page_with_model

        page = page_with_model(page, model_files(version.folder))
    _write(output, page)
    typer.echo(str(output))


def _check_output(output: Path) -> None:
    """Check that the page can be written, before the work."""
    if output.exists():
        raise OutputConflict(f"{output} already exists: name another file with --output")
    folder = output.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        what = "is not writable" if folder.is_dir() else "is not a folder"
        raise ConfigurationError(f"cannot write {output}: {folder} {what}; make it, or name another --output")


def _write(output: Path, page: str) -> None:
    """Write the page, whole or not at all."""
    from encoder.atomic_files import new_file

    with new_file(output) as file:
        file.write(page.encode())


def _open(ref: str) -> _Version:
    from encoder.store.cache import model_folder

    folder, manifest = model_folder(parse(ref))
    if manifest is None:
        return _Version(folder, {}, {})
    metadata = {
        "teacher": manifest.teacher or "-",
        "version": f"{manifest.name}@{manifest.version}",
        "digest": manifest.digest,
        "published": manifest.created_at.isoformat(timespec="seconds"),
        "by": manifest.created_by,
    }
    return _Version(folder, metadata, manifest.parameters)


def _render(ref: str, version: _Version, sets: SetOptions, against: list[str], shown: int) -> str:
    from distill.report import render_report, render_word_report
    from distill.report.head_sections import page_with_heads
    from encoder.model import load_model

    model = load_model(version.folder)
    lineage = _lineage(version, model)
    if not sets:
        name = version.metadata.get("version", Path(ref).absolute().name)
        return page_with_heads(render_word_report(model, name, **lineage), model.heads)
    from distill.evaluation import check_sets, open_model

    found = sets.read(ErrorConsole().print)
    check_sets(found, reference=bool(against))
    models = [open_model(each, texts=found.texts) for each in (ref, *against)]
    evaluations = measure_models(models, found)
    page = render_report(
        model, evaluations, texts=found.texts(), records=found.records, shown=shown, **lineage
    )
    return page_with_heads(page, model.heads)


def _lineage(version: _Version, model: "StaticModel") -> dict[str, Any]:
    """Return how the version was made; for a folder, its `config.json`."""
    if version.metadata:
        return {"metadata": version.metadata, "parameters": version.parameters}
    teacher = model.config.get("tokenizer_name", "-")
    return {"metadata": {"teacher": teacher}, "parameters": model.config}
