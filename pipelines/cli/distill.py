"""`millstream distill`: a teacher becomes a static model, in a folder or published to a store."""

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import typer

from encoder.dtypes import Dtype
from encoder.errors import ConfigurationError
from pipelines.cli.console import ErrorConsole, Stages, size_text
from pipelines.cli.evaluation_sets import SetFiles
from pipelines.cli.options import (
    ClassificationSets,
    Input,
    Label,
    PerLabel,
    ReportRecords,
    RetrievalSets,
    Sts,
)
from pipelines.cli.quality_gate import REPORT_FILE, Measured, Plan, previous_version, unmeasured
from pipelines.formats import FileFormat

if TYPE_CHECKING:
    from pyarrow import Schema

    from distill import CorpusReport
    from distill.evaluation import EmbeddingModel
    from distill.parameters import Precision
    from encoder.model import StaticModel
    from pipelines.records.template import TextTemplate
    from pipelines.sources.files.discovery import InputFile

__all__ = ["distill"]


@dataclass(frozen=True)
class _Target:
    """Where the model goes: into the folder `output`, or as `name` into the store, at `uri`."""

    name: str
    output: Path | None = None
    uri: str = ""


def distill(
    context: typer.Context,
    teacher: Annotated[str, typer.Argument(help="A Hugging Face id, or a folder with the model.")],
    store: Annotated[
        str | None,
        typer.Option(
            envvar="MILLSTREAM_STORE", help="Publish to this store, as s3://bucket/models or ./store."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The model's name in the store.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write to this new folder instead of a store.")] = None,
    dims: Annotated[
        str, typer.Option(metavar="N|SHARE|none", help="Dimensions, or the share of the variance to keep.")
    ] = "256",
    sif: Annotated[
        str, typer.Option(metavar="NUMBER|none", help="The constant of the smooth inverse frequency weights.")
    ] = "1e-4",
    dtype: Annotated[Dtype, typer.Option(help="The numbers of the table.")] = "float16",
    pooling: Annotated[
        Literal["mean", "first", "last", "pooler"], typer.Option(help="How hidden states become a vector.")
    ] = "mean",
    vocabulary: Annotated[
        Path | None, typer.Option(help="A file of own words to add to the vocabulary, one a line.")
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option(
            help="Fit the model to these records: a file, folder or glob of Parquet, JSON lines, CSV, text."
        ),
    ] = None,
    text: Annotated[
        str, typer.Option(help="The corpus's text: a column, or a template as '{merchant} in {city}'.")
    ] = "text",
    input_format: Annotated[
        FileFormat | None,
        typer.Option(
            "--format",
            help="Format of the corpus, or of --input without one.",
            show_default="by the files' extensions",
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(help="Use this many distinct texts of the corpus, drawn at random.")
    ] = 200_000,
    refine: Annotated[
        bool, typer.Option(help="After the fit, follow the teacher's similarities by gradient steps.")
    ] = True,
    blend: Annotated[
        float | None,
        typer.Option(
            help="The length of plain distillation's vectors beside the fitted ones; 0 for none.",
            show_default="the shorter the more texts",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the sample and the refinement.")] = 0,
    cache: Annotated[
        Path | None,
        typer.Option(help="Keep the teacher's vectors of texts here.", show_default="in the user's cache"),
    ] = None,
    drop_pattern: Annotated[
        str, typer.Option(help="Leave out the vocabulary's entries that match this regular expression.")
    ] = r"\[unused\d+\]",
    clusters: Annotated[
        int | None, typer.Option(help="Share this many vectors among all tokens: a smaller model.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where the teacher runs: auto, cpu, cuda, mps.")] = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="auto: bfloat16 where the device is fast at it."),
    ] = "auto",
    teacher_revision: Annotated[
        str | None, typer.Option(help="The teacher's branch, tag or commit on the Hugging Face Hub.")
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the teacher.")
    ] = False,
    records: Input = None,
    label: Label = None,
    sts: Sts = None,
    classification: ClassificationSets = None,
    per_label: PerLabel = 8,
    retrieval: RetrievalSets = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC>=NUMBER", help="Publish nothing where the model is below this, as sts>=75."
        ),
    ] = None,
    report_records: ReportRecords = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")] = False,
) -> None:
    """Distil a sentence transformer into a static model, and publish it or write it to a folder.

    Give --store and --name to publish, or --output to write a folder. With --corpus the model is fitted to
    a sample of your own records: better, and in minutes instead of seconds. After an interruption, the same
    command goes on.

    With a corpus, or with --input, --sts, --classification or --retrieval, the model is measured beside its
    teacher and the version before. A report is published with it.
    """
    begin = time.monotonic()
    source = context.get_parameter_source("store")
    target = _target(store, name, output, store_is_given=source is not None and source.name == "COMMANDLINE")
    words = _words(vocabulary)
    parameters: dict[str, Any] = {
        "dims": _number("--dims", dims),
        "sif": _number("--sif", sif),
        "drop_pattern": drop_pattern or None,
        "pooling": pooling,
        "dtype": dtype,
        "clusters": clusters,
        "precision": precision,
        "revision": teacher_revision,
    }

    files = _Corpus.find(corpus, text, input_format) if corpus is not None else None
    sets = SetFiles(
        input=records,
        text=text,
        label=label,
        input_format=None if files else input_format,
        sts=sts or (),
        classification=classification or (),
        retrieval=retrieval or (),
        per_label=per_label,
        seed=seed,
    )
    reports: list[CorpusReport] = []
    held_out: list[str] = []

    def keep(texts: list[str]) -> None:
        held_out.extend(texts)
        plan.has_work(held_out)  # or it raises, before the fit

    from distill import distill as run
    from distill import model_card, teacher_bytes

    plan = Plan.make(sets, require or (), corpus=files is not None)
    before = _before(target) if plan.may_have_work else []

    with Stages(ErrorConsole()) as stages:
        model = run(
            teacher,
            vocabulary=words,
            device=device,
            trust_remote_code=trust_remote_code,
            corpus=files.texts(stages) if files else None,
            sample=sample,
            refine=refine,
            blend=blend,
            seed=seed,
            cache=cache,
            on_progress=stages.tell,
            on_report=reports.append,
            on_held_out=keep,
            **parameters,
        )
    report = reports[0] if reports else None
    fitted = {**asdict(report), "text": text, "seed": seed} if report else None
    parameters |= {"own_words": len(words), "corpus": fitted}
    about = {"facts": {"teacher": model.config["tokenizer_name"]}, "parameters": parameters}
    if plan.has_work(held_out):
        measured = plan.measure(
            model,
            target.name,
            held_out,
            [_teacher(teacher, device, precision, teacher_revision, trust_remote_code), *before],
            sample=sets.sample,
            shown=report_records,
            **about,
        )
    else:
        measured = unmeasured(model, target.name, **about)
    card = model_card(
        model,
        name=target.name,
        teacher=teacher,
        revision=teacher_revision,
        report=report,
        quality=measured.evaluations,
    )
    outcome = _deliver(model, card, target, parameters, measured)
    outcome |= {
        "corpus": fitted,
        "quality": measured.quality,
        "teacher": model.config["tokenizer_name"],
        "teacher_bytes": teacher_bytes(teacher, teacher_revision),
        "tokens": len(model.table) if model.mapping is None else len(model.mapping),
        "dim": model.dim,
        "dtype": model.table.dtype.name,
        "seconds": round(time.monotonic() - begin, 1),
    }
    typer.echo(json.dumps(outcome) if as_json else _in_words(outcome))


@dataclass(frozen=True)
class _Corpus:
    """The records to fit to: they are there, and have the template's fields."""

    files: "list[InputFile]"
    schema: "Schema"
    template: "TextTemplate"

    @classmethod
    def find(cls, pattern: str, text: str, input_format: FileFormat | None) -> Self:
        from pipelines.records.template import TextTemplate
        from pipelines.sources.files.discovery import find_inputs
        from pipelines.sources.files.schema import infer_schema

        template = TextTemplate.parse(text)
        files = find_inputs(pattern, input_format)
        return cls(files, infer_schema(files, template.fields, ()), template)

    def texts(self, stages: Stages) -> Iterator[str | None]:
        """Read the texts; show how far it is, and how many rows could not be read."""
        from pipelines.sources.files.texts import iterate_texts

        with stages.reading(sum(file.size for file in self.files)) as on_chunk:
            yield from iterate_texts(self.files, self.schema, self.template, on_chunk)


def _target(store: str | None, name: str | None, output: Path | None, *, store_is_given: bool) -> _Target:
    """Where the model goes, checked: nothing is to fail there after minutes of work."""
    if output is not None:
        if name is not None or store_is_given:
            raise ConfigurationError("give --output, or --store and --name to publish: not both")
        from encoder.atomic_files import check_new_folder

        check_new_folder(output)
        return _Target(output.absolute().name, output=output)
    if store is None or name is None:
        missing = "--store" if name else "--name" if store else "--output, or --store and --name"
        raise ConfigurationError(f"where should the model go? Give {missing}")

    from encoder.store.manifest import check_name
    from encoder.store.objects import open_objects
    from encoder.store.publish import prove_create_only

    objects = open_objects(f"{store.rstrip('/')}/{check_name(name)}")
    prove_create_only(objects)
    return _Target(name, uri=objects.uri)


def _teacher(
    teacher: str, device: str, precision: "Precision", revision: str | None, trust_remote_code: bool
) -> "EmbeddingModel":
    from distill.evaluation import open_model

    return open_model(
        teacher,
        device=device,
        precision=precision,
        revision=revision,
        trust_remote_code=trust_remote_code,
    )


def _before(target: _Target) -> "list[EmbeddingModel]":
    """The version that the new one would replace."""
    return [] if target.output is not None else previous_version(target.uri)


def _number(option: str, text: str) -> int | float | None:
    """Parse a number or `none`."""
    if text.lower() == "none":
        return None
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise ConfigurationError(f"{option} is {text!r}: give a number, or none") from None


def _words(path: Path | None) -> list[str]:
    """Read own words, one a line; blanks around them and empty lines do not count."""
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the vocabulary {path}: {error}") from error
    words = [word for line in lines if (word := line.strip())]
    if not words:
        raise ConfigurationError(f"the vocabulary {path} is empty: write one word a line, or leave it out")
    return words


def _deliver(
    model: "StaticModel", card: str, target: _Target, parameters: dict[str, Any], measured: Measured
) -> dict[str, Any]:
    """Write the folder or publish the version; what was made, as JSON."""
    from encoder.model import save_model
    from encoder.reference import Reference
    from encoder.store.store import ModelStore

    more = {REPORT_FILE: measured.report}
    if target.output is not None:
        folder = save_model(model, target.output, readme=card, more=more)
        size = sum(file.stat().st_size for file in folder.iterdir())
        return {"ref": str(target.output), "model_bytes": size}
    with tempfile.TemporaryDirectory(prefix="millstream-") as work:
        folder = save_model(model, Path(work) / target.name, readme=card, more=more)
        manifest = ModelStore.open(target.uri).publish(
            folder,
            name=target.name,
            teacher=model.config["tokenizer_name"],
            parameters=parameters,
            quality=measured.quality,
        )
    return {
        "name": manifest.name,
        "version": manifest.version,
        "digest": manifest.digest,
        "ref": str(Reference("store", target.uri, manifest.version)),
        "model_bytes": manifest.size,
    }


def _in_words(outcome: dict[str, Any]) -> str:
    done = f"wrote {outcome['ref']}"
    if "version" in outcome:
        digest = outcome["digest"][: len("sha256:") + 12]  # as much of it as a REF needs
        done = f"published {outcome['name']}@{outcome['version']} ({digest})"
    of_teacher = f" (the teacher: {size_text(outcome['teacher_bytes'])})" if outcome["teacher_bytes"] else ""
    corpus = outcome["corpus"]
    fitted = ""
    if corpus:
        fitted = (
            f"  fitted to {corpus['texts']:,} texts: the fit's cosine with the teacher "
            f"{corpus['cosine_fitted']:.3f} on {corpus['held_out']:,} others\n"
        )
    figures = (outcome["quality"] or {}).get("figures", ())
    measured = "".join(
        "  {metric} on {dataset}: {value:.4g} [{low:.4g}, {high:.4g}]\n".format(**each)
        for each in figures
        if each["value"] is not None
    )
    return (
        f"{done}\n"
        f"  {outcome['tokens']:,} tokens, {outcome['dim']} dimensions, {outcome['dtype']}\n"
        f"{fitted}"
        f"{measured}"
        f"  {size_text(outcome['model_bytes'])}{of_teacher}, {outcome['seconds']} s\n"
        f"  use it as {outcome['ref']}"
    )
