"""The command line: `millstream COMMAND`.

Exit codes: 0 for success, 1 for failure, 2 for wrong usage. An error is one line on standard error; `--debug`
shows the traceback.
"""

import logging
import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from encoder.errors import ConfigurationError, MillstreamError, TemplateError
from pipelines.cli import backfill, demo, keys, warm
from pipelines.cli.cache import caching
from pipelines.cli.command import Command, Group, with_old_flags
from pipelines.cli.distill import command as distill
from pipelines.cli.encode import command as encode
from pipelines.cli.evaluation import command as evaluation
from pipelines.cli.heads import command as head
from pipelines.cli.models import command as models
from pipelines.cli.options import operations_option
from pipelines.cli.stream import command as stream
from pipelines.cli.trust import verifying
from pipelines.cli.worker import command as worker

__all__ = ["app", "main"]

FAILED, WRONG_USE = 1, 2
_MAKE, _EMBED, _TRY = "Make models", "Embed records", "Try it"

app = typer.Typer(
    name="millstream",
    cls=Group,
    help="Text embeddings on streams, at the speed of the stream.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "MILLSTREAM"},
)
_old_format = with_old_flags({"--format": "--input-format"})

app.command("distill", cls=_old_format, rich_help_panel=_MAKE)(verifying(distill.distill))
app.command("evaluate", cls=_old_format, rich_help_panel=_MAKE)(verifying(evaluation.evaluate))
app.add_typer(head.app, name="head", rich_help_panel=_MAKE)
app.add_typer(models.app, name="models", rich_help_panel=_MAKE)
app.add_typer(keys.app, name="keys", rich_help_panel=_MAKE)
app.command("encode", cls=Command, rich_help_panel=_EMBED)(verifying(encode.encode))
app.command("backfill", cls=_old_format, rich_help_panel=_EMBED)(caching(verifying(backfill.backfill)))
app.command(
    "stream",
    cls=with_old_flags({"--format": "--input-format", "--disorder": "--out-of-orderness"}),
    rich_help_panel=_EMBED,
)(caching(verifying(stream.stream)))
app.command("worker", cls=with_old_flags({"--format": "--output-format"}), rich_help_panel=_EMBED)(
    caching(verifying(worker.worker))
)
app.command("warm", cls=Command, rich_help_panel=_EMBED)(verifying(warm.warm))
app.command("demo", cls=Command, rich_help_panel=_TRY)(demo.demo)


@app.callback()
def options(
    debug: Annotated[
        bool, operations_option("--debug", envvar="MILLSTREAM_DEBUG", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Text embeddings on streams, at the speed of the stream."""
    if debug:
        os.environ["MILLSTREAM_DEBUG"] = "1"


class _Line(logging.Formatter):
    """Log lines as the command line says errors: `warning: …`."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {super().format(record)}"


def main() -> None:
    """Run the command line; the entry point of `pip install millstream`."""
    own = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    if "--debug" in own:  # anywhere before `--`
        sys.argv.remove("--debug")
        os.environ["MILLSTREAM_DEBUG"] = "1"
    # Libraries log warnings while they are imported that are not for users.
    if os.environ.get("MILLSTREAM_DEBUG"):
        logging.basicConfig(level=logging.INFO)
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(_Line())
        logging.basicConfig(level=logging.ERROR, handlers=[handler])
    for package in ("encoder", "distill"):  # these are for users
        logging.getLogger(package).setLevel(logging.WARNING)
    try:
        app()
    except Exception as error:
        if os.environ.get("MILLSTREAM_DEBUG"):
            raise
        known = isinstance(error, MillstreamError | OSError)
        message = str(error) if known else f"{type(error).__name__}: {error} (--debug shows where)"
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"[bold red]error:[/] {escape(message)}")
        sys.exit(WRONG_USE if isinstance(error, ConfigurationError | TemplateError) else FAILED)
