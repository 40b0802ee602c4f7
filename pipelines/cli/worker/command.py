"""`millstream worker`: topics in, their records with vectors out, until a signal stops it."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.config_file import from_file
from pipelines.cli.console import print_table
from pipelines.cli.option_groups import expand_options
from pipelines.cli.options import operations_option
from pipelines.cli.worker.demo import for_demo, refuse_brokers, run_demo
from pipelines.worker.configuration.settings import WorkerSettings

__all__ = ["worker"]


@expand_options
def worker(
    settings: WorkerSettings,
    context: typer.Context,
    config: Annotated[
        Path | None,
        operations_option(
            callback=from_file,
            is_eager=True,
            metavar="FILE",
            help="TOML file of options. Its keys are their names without the dashes.",
        ),
    ] = None,
    ui: Annotated[bool, operations_option("--ui", help="Show a live dashboard on this terminal.")] = False,
    check: Annotated[
        bool,
        operations_option(
            "--check", help="Check settings, model, topics, schemas and outputs, then exit. Writes nothing."
        ),
    ] = False,
    demo: Annotated[
        bool,
        operations_option(
            "--demo",
            callback=for_demo,
            is_eager=True,
            help="Run on made-up card payments and a broker inside this process; needs no other option.",
        ),
    ] = False,
    demo_seconds: Annotated[
        float | None,
        operations_option(
            min=1, metavar="SECONDS", show_default="until Ctrl-C", help="How long the demonstration runs."
        ),
    ] = None,
    demo_rate: Annotated[
        int, operations_option(min=1, metavar="N", help="Payments a second in the demonstration.")
    ] = 2000,
) -> None:
    """Add embeddings to the records of Kafka topics; write to topics and Parquet.

    Records keep their fields, key and headers, and gain `embedding`,
    `model_version` and the scores of heads. A record that cannot be embedded goes
    to the dead letters and delays no other. SIGTERM stops the worker cleanly.

    Command-line options override environment variables, which override the file.
    MILLSTREAM_KAFKA_SASL_PASSWORD is the property sasl.password.
    """
    del config  # its callback has made the file's options defaults
    from pipelines.cli.worker.run import log_as, run
    from pipelines.worker.configuration.plan import Plan
    from pipelines.worker.prepare import check as check_plan

    if demo:
        refuse_brokers(context)
        run_demo(settings, seconds=demo_seconds, rate=demo_rate)
    elif check:
        print_table(None, [list(row) for row in check_plan(Plan.parse(settings))])
    else:
        plan = Plan.parse(settings)
        log_as(settings.log_format)
        run(plan, ui=ui)
