"""`millstream distill`: a teacher becomes a static model, in a folder or published to a store."""

import json
import time
from dataclasses import asdict
from typing import Annotated

import typer

from pipelines.cli.console import ErrorConsole, Stages
from pipelines.cli.distill.options import CorpusOptions, EvaluationOptions, TableOptions, TeacherOptions
from pipelines.cli.distill.target import TargetOptions, summary
from pipelines.cli.evaluation.quality_gate import Plan, previous_version, unmeasured, with_model
from pipelines.cli.option_groups import expand_options
from pipelines.cli.options import AsJson

__all__ = ["distill"]


@expand_options
def distill(
    *,
    context: typer.Context,
    teacher: Annotated[
        str,
        typer.Argument(
            metavar="TEACHER", help="Sentence transformer to distil: a Hugging Face ID, or a model folder."
        ),
    ],
    destination: TargetOptions,
    table: TableOptions,
    loading: TeacherOptions,
    corpus: CorpusOptions,
    evaluation: EvaluationOptions,
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
    target = destination.check(store_is_given=source is not None and source.name == "COMMANDLINE")
    parameters = table.parse() | loading.parameters()
    words = table.words()
    budget = corpus.budget()
    files = corpus.find()
    sets = evaluation.sets(corpus)
    plan = Plan.make(sets, evaluation.require or (), corpus=files is not None)
    previous = previous_version(target.uri) if plan.may_measure and target.output is None else []

    from distill import distill as run
    from distill.evaluation import open_model

    with Stages(ErrorConsole()) as stages:
        result = run(
            teacher,
            vocabulary=words,
            corpus=files.texts(stages) if files else None,
            sample=corpus.sample,
            time_budget=budget,
            refine=corpus.refine,
            blend=corpus.blend,
            min_held_out=plan.min_held_out,
            seed=corpus.seed,
            cache=corpus.cache,
            progress=stages.tell,
            **loading.place(),
            **parameters,
        )
    fitted = {**asdict(result.report), "text": corpus.text, "seed": corpus.seed} if result.report else None
    recorded = {**parameters, "own_words": len(words), "corpus": fitted}
    lineage = {"metadata": {"teacher": result.model.config["tokenizer_name"]}, "parameters": recorded}
    if plan.can_measure(result.held_out):
        reference = open_model(
            teacher, precision=loading.precision, revision=loading.teacher_revision, **loading.place()
        )
        measured = plan.measure(
            result.model,
            target.name,
            result.held_out,
            [reference, *previous],
            sample=sets.sample,
            shown=evaluation.report_records,
            **lineage,
        )
    else:
        measured = unmeasured(result.model, target.name, **lineage)
    if evaluation.report_model:
        measured = with_model(measured, result.model)
    outcome = target.deliver(result, teacher, recorded, measured)
    outcome["seconds"] = round(time.monotonic() - begin, 1)
    typer.echo(json.dumps(outcome) if as_json else summary(outcome))
