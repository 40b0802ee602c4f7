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
    AsJson,
    ClassificationSets,
    Delimiter,
    Device,
    Encoding,
    Escape,
    Input,
    Label,
    PerLabel,
    Quote,
    ReportRecords,
    RetrievalSets,
    Sts,
    TrustRemoteCode,
    corpus_option,
    evaluation_option,
    output_option,
    table_option,
    teacher_option,
)
from pipelines.cli.quality_gate import REPORT_FILE, Measured, Plan, previous_version, unmeasured
from pipelines.formats import FileFormat
from pipelines.formats.dialect import Dialect

if TYPE_CHECKING:
    from pyarrow import Schema

    from distill import DistillationResult
    from pipelines.records.template import TextTemplate
    from pipelines.sources.files.discovery import InputFile

__all__ = ["distill"]


@dataclass(frozen=True)
class _Target:
    """The destination of the model: the folder `output`, or the model `name` of a store, at `uri`."""

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
        output_option(
            envvar="MILLSTREAM_STORE",
            metavar="URI",
            help="Store to publish to, such as s3://bucket/models or ./store.",
        ),
    ] = None,
    name: Annotated[str | None, output_option(metavar="NAME", help="Name of the model in the store.")] = None,
    output: Annotated[
        Path | None,
        output_option(metavar="FOLDER", help="New folder to write the model to, instead of publishing it."),
    ] = None,
    dims: Annotated[
        str,
        table_option(
            metavar="N|SHARE", help="Dimensions of a vector, the share of the variance to keep, or none."
        ),
    ] = "256",
    sif: Annotated[
        str, table_option(metavar="NUMBER", help="Smooth inverse frequency constant, or none for no weights.")
    ] = "1e-4",
    dtype: Annotated[
        Dtype, table_option(metavar="TYPE", help="Type of the token vectors: float32, float16 or int8.")
    ] = "float16",
    pooling: Annotated[
        Literal["mean", "first", "last", "pooler"],
        teacher_option(
            metavar="POOLING",
            help="How the teacher's hidden states become a vector: mean, first, last or pooler.",
        ),
    ] = "mean",
    vocabulary: Annotated[
        Path | None,
        table_option(metavar="FILE", help="File of words to add to the vocabulary, one per line."),
    ] = None,
    corpus: Annotated[
        str | None,
        corpus_option(
            metavar="FILES", help="Your own records to fit the model to: Parquet, JSON lines, CSV or text."
        ),
    ] = None,
    text: Annotated[
        str,
        corpus_option(
            metavar="TEMPLATE",
            help="Text of a record: a column, or a template such as '{merchant} in {city}'.",
        ),
    ] = "text",
    input_format: Annotated[
        FileFormat | None,
        corpus_option(
            "--input-format",
            metavar="FORMAT",
            help="Format of --corpus, or of --input if there is no corpus: parquet, jsonl, csv or text.",
            show_default="by file extension",
        ),
    ] = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    escape: Escape = None,
    encoding: Encoding = None,
    sample: Annotated[
        int, corpus_option(metavar="N", help="Number of distinct texts to draw from --corpus.")
    ] = 200_000,
    refine: Annotated[
        bool, corpus_option(help="Refine the fit by gradient steps on the teacher's similarities.")
    ] = True,
    blend: Annotated[
        float | None,
        corpus_option(
            metavar="NUMBER",
            help="Length of the plain distillation's vectors beside the fitted ones; 0 for none.",
            show_default="more for fewer texts",
        ),
    ] = None,
    seed: Annotated[int, corpus_option(metavar="N", help="Random seed for sampling and refinement.")] = 0,
    cache: Annotated[
        Path | None,
        corpus_option(
            metavar="FOLDER",
            help="Folder that keeps the teacher's vectors of texts.",
            show_default="the user cache",
        ),
    ] = None,
    drop_pattern: Annotated[
        str,
        table_option(
            metavar="REGEX", help="Leave out vocabulary entries that match this regular expression."
        ),
    ] = r"\[unused\d+\]",
    clusters: Annotated[
        int | None,
        table_option(
            metavar="N", help="Let all tokens share this many vectors, which makes the model smaller."
        ),
    ] = None,
    device: Device = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        teacher_option(
            metavar="PRECISION",
            help="Precision of the teacher: float32, bfloat16, or auto for bfloat16 where it is fast.",
        ),
    ] = "auto",
    teacher_revision: Annotated[
        str | None,
        teacher_option(
            metavar="REVISION", help="Branch, tag or commit of the teacher on the Hugging Face Hub."
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
        evaluation_option(
            metavar="METRIC>=N",
            help="Publish nothing if a metric is below this, as in 'sts>=75'. Repeatable.",
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
    parameters: dict[str, Any] = {
        "dims": _number("dims", dims),
        "sif": _number("sif", sif),
        "drop_pattern": drop_pattern or None,
        "pooling": pooling,
        "dtype": dtype,
        "clusters": clusters,
        "precision": precision,
        "revision": teacher_revision,
    }
    loading: dict[str, Any] = {"device": device, "trust_remote_code": trust_remote_code}
    words = _words(vocabulary)
    files = (
        _Corpus.find(corpus, text, input_format, Dialect.parse(delimiter, quote, escape, encoding))
        if corpus is not None
        else None
    )
    sets = SetFiles.from_options(
        locals(), sample=SetFiles.sample, input_format=None if files else input_format
    )
    plan = Plan.make(sets, require or (), corpus=files is not None)
    previous = previous_version(target.uri) if plan.may_measure and output is None else []

    from distill import distill as run
    from distill.evaluation import open_model

    with Stages(ErrorConsole()) as stages:
        result = run(
            teacher,
            vocabulary=words,
            corpus=files.texts(stages) if files else None,
            sample=sample,
            refine=refine,
            blend=blend,
            min_held_out=plan.min_held_out,
            seed=seed,
            cache=cache,
            progress=stages.tell,
            **loading,
            **parameters,
        )
    fitted = {**asdict(result.report), "text": text, "seed": seed} if result.report else None
    recorded = {**parameters, "own_words": len(words), "corpus": fitted}
    lineage = {"metadata": {"teacher": result.model.config["tokenizer_name"]}, "parameters": recorded}
    if plan.can_measure(result.held_out):
        reference = open_model(teacher, precision=precision, revision=teacher_revision, **loading)
        measured = plan.measure(
            result.model,
            target.name,
            result.held_out,
            [reference, *previous],
            sample=sets.sample,
            shown=report_records,
            **lineage,
        )
    else:
        measured = unmeasured(result.model, target.name, **lineage)
    outcome = _deliver(result, target, teacher, recorded, measured)
    outcome["seconds"] = round(time.monotonic() - begin, 1)
    typer.echo(json.dumps(outcome) if as_json else _summary(outcome))


@dataclass(frozen=True)
class _Corpus:
    """The records that the model is fitted to; the files exist and have the template's fields."""

    files: "list[InputFile]"
    schema: "Schema"
    template: "TextTemplate"

    @classmethod
    def find(cls, pattern: str, text: str, input_format: FileFormat | None, dialect: Dialect) -> Self:
        from pipelines.records.template import TextTemplate
        from pipelines.sources.files.dialects import find_with_dialects
        from pipelines.sources.files.schema import infer_schema

        template = TextTemplate.parse(text)
        files = find_with_dialects(pattern, input_format, dialect, ErrorConsole().print)
        return cls(files, infer_schema(files, template.fields, ()), template)

    def texts(self, stages: Stages) -> Iterator[str | None]:
        """Read the texts, and show the progress and the number of unreadable rows."""
        from pipelines.sources.files.texts import iterate_texts

        with stages.reading(sum(file.size for file in self.files)) as on_chunk:
            yield from iterate_texts(self.files, self.schema, self.template, on_chunk)


def _target(store: str | None, name: str | None, output: Path | None, *, store_is_given: bool) -> _Target:
    """Check the destination, so that minutes of work are not lost there."""
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


def _number(option: str, text: str) -> int | float | None:
    """Parse a number or `none`."""
    if text.lower() == "none":
        return None
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise ConfigurationError(f"`{option}` is {text!r}: give a number, or none") from None


def _words(path: Path | None) -> list[str]:
    """Read a file of words, one a line; surrounding blanks and empty lines are ignored."""
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
    result: "DistillationResult",
    target: _Target,
    teacher: str,
    parameters: dict[str, Any],
    measured: Measured,
) -> dict[str, Any]:
    """Write the folder or publish the version, and return the outcome as JSON."""
    from distill import model_card, teacher_bytes
    from encoder.model import save_model

    model, revision = result.model, parameters["revision"]
    card = model_card(
        model,
        name=target.name,
        teacher=teacher,
        revision=revision,
        report=result.report,
        quality=measured.evaluations,
    )
    files: dict[str, Any] = {"readme": card, "more": {REPORT_FILE: measured.report}}
    if target.output is not None:
        folder = save_model(model, target.output, **files)
        size = sum(file.stat().st_size for file in folder.iterdir())
        outcome = {"ref": str(target.output), "model_bytes": size}
    else:
        with tempfile.TemporaryDirectory(prefix="millstream-") as work:
            folder = save_model(model, Path(work) / target.name, **files)
            outcome = _publish(folder, target, model.config["tokenizer_name"], parameters, measured.quality)
    return outcome | {
        "corpus": parameters["corpus"],
        "quality": measured.quality,
        "teacher": model.config["tokenizer_name"],
        "teacher_bytes": teacher_bytes(teacher, revision),
        "tokens": len(model.table) if model.mapping is None else len(model.mapping),
        "dim": model.dim,
        "dtype": model.table.dtype.name,
    }


def _publish(
    folder: Path, target: _Target, teacher: str, parameters: dict[str, Any], quality: dict[str, Any] | None
) -> dict[str, Any]:
    from encoder.reference import Reference
    from encoder.store.store import ModelStore

    manifest = ModelStore.open(target.uri).publish(
        folder, name=target.name, teacher=teacher, parameters=parameters, quality=quality
    )
    return {
        "name": manifest.name,
        "version": manifest.version,
        "digest": manifest.digest,
        "ref": str(Reference("store", target.uri, manifest.version)),
        "model_bytes": manifest.size,
    }


def _summary(outcome: dict[str, Any]) -> str:
    lines = [f"wrote {outcome['ref']}"]
    if "version" in outcome:
        digest = outcome["digest"][: len("sha256:") + 12]  # enough for a REF
        lines = [f"published {outcome['name']}@{outcome['version']} ({digest})"]
    lines.append(f"{outcome['tokens']:,} tokens, {outcome['dim']} dimensions, {outcome['dtype']}")
    if outcome["corpus"]:
        fit = "fitted to {texts:,} texts; mean cosine with the teacher on {held_out:,} held-out texts: "
        lines.append(f"{fit}{{cosine_fitted:.3f}}".format(**outcome["corpus"]))
    lines += [
        "{metric} on {dataset}: {value:.4g} [{low:.4g}, {high:.4g}]".format(**figure)
        for figure in (outcome["quality"] or {}).get("figures", ())
        if figure["value"] is not None
    ]
    of_teacher = f" (the teacher: {size_text(outcome['teacher_bytes'])})" if outcome["teacher_bytes"] else ""
    lines.append(f"{size_text(outcome['model_bytes'])}{of_teacher}, {outcome['seconds']} s")
    lines.append(f"use it as {outcome['ref']}")
    return "\n  ".join(lines)
