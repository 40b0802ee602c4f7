"""`millstream worker`: a topic in, its records with vectors out, until it is told to stop."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from encoder.errors import MissingExtra
from pipelines.cli.config_file import from_file
from pipelines.cli.console import print_table
from pipelines.cli.options import Dtype, Heads, Properties
from pipelines.cli.worker.demo import for_demo, refuse_brokers, run_demo
from pipelines.enrich import Layout
from pipelines.formats import InputFormat, OutputFormat

__all__ = ["worker"]

_MIB = 1 << 20


def worker(
    context: typer.Context,
    brokers: Annotated[str, typer.Option(help="HOST:PORT of the brokers, separated by commas.")],
    group: Annotated[str, typer.Option(help="Consumer group; workers of a group share the partitions.")],
    inputs: Annotated[
        list[str],
        typer.Option("--input", help="Topic to read, or ^REGEX of topics; may be given several times."),
    ],
    model: Annotated[
        str,
        typer.Option(help="REF of the model; a store's latest version is followed while the worker runs."),
    ],
    outputs: Annotated[
        list[str], typer.Option("--output", help="topic:NAME or parquet:URI; may be given several times.")
    ],
    dead_letters: Annotated[
        str, typer.Option(help="topic:NAME or parquet:URI for records that cannot be embedded.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(callback=from_file, is_eager=True, help="TOML file with these options, named as here."),
    ] = None,
    text: Annotated[
        str, typer.Option(help="Field to embed, or a template: '{merchant} in {city}: {user.name}'.")
    ] = "text",
    input_format: Annotated[
        InputFormat,
        typer.Option(help="Format of the values; text is one field, 'text'."),
    ] = "json",
    output_format: Annotated[
        OutputFormat,
        typer.Option("--format", help="Of output topics: a message a record, or Arrow IPC batches."),
    ] = "json",
    schema_registry: Annotated[
        str | None,
        typer.Option(
            help="URL of the schema registry, for Avro and Protobuf; its properties are "
            "--property schema.registry.KEY=VALUE, as in schema.registry.basic.auth.user.info=@FILE."
        ),
    ] = None,
    delivery: Annotated[
        Literal["exactly-once", "at-least-once"],
        typer.Option(help="Of output topics; Parquet holds every record exactly once."),
    ] = "exactly-once",
    fields: Annotated[
        str | None,
        typer.Option(help="Fields to keep, with types if wanted: 'id:int64,merchant'.", show_default="all"),
    ] = None,
    vectors: Annotated[
        Layout,
        typer.Option(help="list: every tool reads it; binary: bytes (base64 in JSON), many times faster."),
    ] = "list",
    dtype: Dtype = "float32",
    heads: Heads = None,
    instance: Annotated[
        str | None,
        typer.Option(
            help="Name of this replica that outlives restarts: static membership, and no wait for the "
            "transaction that a killed process left open."
        ),
    ] = None,
    pin: Annotated[bool, typer.Option(help="Stay with the model's version of the start.")] = False,
    model_seconds: Annotated[float, typer.Option(min=0.1, help="Between two looks for a newer one.")] = 30.0,
    commit_seconds: Annotated[
        float, typer.Option(min=0.001, help="Between two commits; twenty times as long with a backlog.")
    ] = 0.05,
    transaction_records: Annotated[int, typer.Option(min=1, help="At most between two commits.")] = 100_000,
    rows_per_file: Annotated[int, typer.Option(min=1, help="Offsets of a Parquet file.")] = 65_536,
    mib_per_file: Annotated[int, typer.Option(min=1, help="MiB of records of a Parquet file.")] = 256,
    seconds_per_file: Annotated[float, typer.Option(min=0.1, help="Age of a file's first row.")] = 60.0,
    max_memory: Annotated[int, typer.Option(min=64, help="MiB for records that wait for outputs.")] = 1024,
    max_dead_letters: Annotated[
        str, typer.Option(help="Share of the last 10,000 records that may be bad before the worker stops.")
    ] = "10%",
    properties: Properties = None,
    property_files: Annotated[
        list[Path] | None, typer.Option("--property-file", help="File of such lines, as for secrets.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(help="HOST:PORT for /healthz, /readyz and /metrics.", show_default="none")
    ] = None,
    stuck_seconds: Annotated[
        float, typer.Option(min=1, help="End the process when a call does not return for so long.")
    ] = 60.0,
    log_format: Annotated[Literal["json", "text"], typer.Option(help="Of log lines.")] = "json",
    ui: Annotated[bool, typer.Option("--ui", help="Show what the worker does on this terminal.")] = False,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo",
            callback=for_demo,
            is_eager=True,
            help="Made-up card payments through a broker inside this process; needs no other option.",
        ),
    ] = False,
    demo_seconds: Annotated[
        float | None, typer.Option(min=1, help="End the demonstration by itself.", show_default="at Ctrl-C")
    ] = None,
    demo_rate: Annotated[int, typer.Option(min=1, help="Payments a second of the demonstration.")] = 2000,
    check: Annotated[
        bool,
        typer.Option("--check", help="Look at settings, model, topics, schemas and outputs, and end."),
    ] = False,
) -> None:
    """Embed the records of a Kafka topic into other topics and Parquet, as one of a group of workers.

    Records keep their fields, key and headers, and get `embedding`, `model_version` and heads' scores. A
    record that cannot be embedded goes to the dead letters and delays no other. SIGTERM ends the worker in
    order. Properties also come from the environment: MILLSTREAM_KAFKA_SASL_PASSWORD is sasl.password.
    """
    del config  # its options have become defaults
    try:
        from pipelines.enrich.columns import VectorFormat, parse_heads
        from pipelines.kafka.config import parse_properties
        from pipelines.sinks.open_files import Rotation
        from pipelines.worker.settings import (
            Output,
            WorkerSettings,
            parse_budget,
            parse_fields,
        )
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "confluent_kafka", "kafka") from error
    names, types = parse_fields(fields)
    settings = WorkerSettings(
        brokers=brokers,
        group=group,
        inputs=tuple(inputs),
        text=text,
        model=model,
        outputs=tuple(Output.parse(output) for output in outputs),
        dead_letters=Output.parse(dead_letters),
        input_format=input_format,
        format=output_format,
        delivery=delivery,
        fields=names,
        types=types,
        vectors=VectorFormat(vectors, dtype),
        heads=parse_heads(heads),
        instance=instance,
        pin=pin,
        model_seconds=model_seconds,
        commit_seconds=commit_seconds,
        transaction_records=transaction_records,
        rotation=Rotation(rows_per_file, mib_per_file * _MIB, seconds_per_file),
        max_memory=max_memory * _MIB,
        max_dead_letters=parse_budget(max_dead_letters),
        properties=parse_properties(properties or [], property_files or []),
        schema_registry=schema_registry,
    )
    if demo:
        refuse_brokers(context)
        run_demo(
            settings,
            seconds=demo_seconds,
            rate=demo_rate,
            log_format=log_format,
            listen=listen,
            stuck_seconds=stuck_seconds,
        )
        return
    if check:
        from pipelines.worker.check import check as look

        print_table(None, [list(row) for row in look(settings)])
        return
    from pipelines.cli.worker.run import log_as, run

    log_as(log_format)
    run(settings, listen=listen, stuck_seconds=stuck_seconds, ui=ui)
