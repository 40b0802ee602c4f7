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
    CORPUS,
    EVALUATION,
    OUTPUT,
    TABLE,
    TEACHER,
    AsJson,
    ClassificationSets,
    Device,
    Input,
    Label,
    PerLabel,
    ReportRecords,
    RetrievalSets,
    Sts,
    TrustRemoteCode,
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
    teacher: Annotated[
        str,
        typer.Argument(
            metavar="TEACHER", help="Sentence transformer to distil: a Hugging Face ID, or a model folder."
        ),
    ],
    store: Annotated[
        str | None,
        typer.Option(
            envvar="MILLSTREAM_STORE",
            metavar="URI",
            help="Store to publish to, such as s3://bucket/models or ./store.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the model in the store.", rich_help_panel=OUTPUT),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="New folder to write the model to, instead of publishing it.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    dims: Annotated[
        str,
        typer.Option(
            metavar="N|SHARE",
            help="Dimensions of a vector, the share of the variance to keep, or none.",
            rich_help_panel=TABLE,
        ),
    ] = "256",
    sif: Annotated[
        str,
        typer.Option(
            metavar="NUMBER",
            help="Smooth inverse frequency constant, or none for no weights.",
            rich_help_panel=TABLE,
        ),
    ] = "1e-4",
    dtype: Annotated[
        Dtype,
        typer.Option(
            metavar="TYPE", help="Type of the token vectors: float32, float16 or int8.", rich_help_panel=TABLE
        ),
    ] = "float16",
    pooling: Annotated[
        Literal["mean", "first", "last", "pooler"],
        typer.Option(
            metavar="POOLING",
            help="How the teacher's hidden states become a vector: mean, first, last or pooler.",
            rich_help_panel=TEACHER,
        ),
    ] = "mean",
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of words to add to the vocabulary, one per line.",
            rich_help_panel=TABLE,
        ),
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option(
            metavar="FILES",
            help="Your own records to fit the model to: Parquet, JSON lines, CSV or text.",
            rich_help_panel=CORPUS,
        ),
    ] = None,
    text: Annotated[
        str,
        typer.Option(
            metavar="TEMPLATE",
            help="Text of a record: a column, or a template such as '{merchant} in {city}'.",
            rich_help_panel=CORPUS,
        ),
    ] = "text",
    input_format: Annotated[
        FileFormat | None,
        typer.Option(
            "--input-format",
            metavar="FORMAT",
            help="Format of --corpus, or of --input if there is no corpus: parquet, jsonl, csv or text.",
            show_default="by file extension",
            rich_help_panel=CORPUS,
        ),
    ] = None,
    sample: Annotated[
        int,
        typer.Option(
            metavar="N", help="Number of distinct texts to draw from --corpus.", rich_help_panel=CORPUS
        ),
    ] = 200_000,
    refine: Annotated[
        bool,
        typer.Option(
            help="Refine the fit by gradient steps on the teacher's similarities.", rich_help_panel=CORPUS
        ),
    ] = True,
    blend: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Length of the plain distillation's vectors beside the fitted ones; 0 for none.",
            show_default="more for fewer texts",
            rich_help_panel=CORPUS,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(metavar="N", help="Random seed for sampling and refinement.", rich_help_panel=CORPUS),
    ] = 0,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder that keeps the teacher's vectors of texts.",
            show_default="the user cache",
            rich_help_panel=CORPUS,
        ),
    ] = None,
    drop_pattern: Annotated[
        str,
        typer.Option(
            metavar="REGEX",
            help="Leave out vocabulary entries that match this regular expression.",
            rich_help_panel=TABLE,
        ),
    ] = r"\[unused\d+\]",
    clusters: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Let all tokens share this many vectors, which makes the model smaller.",
            rich_help_panel=TABLE,
        ),
    ] = None,
    device: Device = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(
            metavar="PRECISION",
            help="Precision of the teacher: float32, bfloat16, or auto for bfloat16 where it is fast.",
            rich_help_panel=TEACHER,
        ),
    ] = "auto",
    teacher_revision: Annotated[
        str | None,
        typer.Option(
            metavar="REVISION",
            help="Branch, tag or commit of the teacher on the Hugging Face Hub.",
            rich_help_panel=TEACHER,
        ),
    ] = None,
    trust_remote_code: TrustRemoteCode = False,
    records: Input = None,
    label: Label = None,
    sts: Sts = None,
    classification: ClassificationSets = None,
    per_label: PerLabel = 8,
    retrieval: RetrievalSets = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC>=N",
            help="Publish nothing if a metric is below this, as in 'sts>=75'. Repeatable.",
            rich_help_panel=EVALUATION,
        ),
    ] = None,
    report_records: ReportRecords = 0,
    as_json: AsJson = False,
) -> None:
    """Distil a sentence transformer into a static model; publish it or write a folder.

    Set --store and --name to publish, or --output to write a folder. With --corpus, the model is fitted
    to a sample of your own records: vectors are better, and it takes minutes instead of seconds. After an
    interruption, run the same command again to continue.

    With a corpus, or with --input, --sts, --classification or --retrieval, the model is compared with its
    teacher and the previous version, and a report is published with it.
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
