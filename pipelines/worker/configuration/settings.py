"""The settings of a worker: each one's flag, environment variable, key in the file, help and default.

`pipelines.cli.option_groups.expand_options` turns this class into the options of `millstream worker`.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from typer import Option

from encoder.arrays.dtypes import Dtype
from pipelines.enrich import Layout, Tombstones
from pipelines.formats import InputFormat, OutputFormat

__all__ = ["WorkerSettings"]

_input = partial(Option, rich_help_panel="Input")
_model = partial(Option, rich_help_panel="Text and model")
_output = partial(Option, rich_help_panel="Output")
_delivery = partial(Option, rich_help_panel="Delivery")
_operations = partial(Option, rich_help_panel="Operations")


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What a user can set, as it is written on the command line; `plan.Plan` parses it.

    A field without a default is a required option.
    """

    brokers: Annotated[str, _input(metavar="HOST:PORT", help="Brokers, separated by commas.")]
    group: Annotated[str, _input(metavar="NAME", help="Consumer group. Its workers share the partitions.")]
    inputs: Annotated[
        list[str],
        _input(
            "--input",
            metavar="TOPIC",
            help="Topic to read, or a regular expression that begins with ^. Repeatable.",
        ),
    ]
    input_format: Annotated[
        InputFormat,
        _input(
            metavar="FORMAT",
            help="Format of values: json, text (records get one field, 'text'), avro, protobuf, or arrow "
            "(IPC streams of many records each).",
        ),
    ] = "json"
    schema_registry: Annotated[
        str | None,
        _input(
            metavar="URL",
            help="Schema registry for Avro and Protobuf. Its properties begin with schema.registry.",
        ),
    ] = None
    properties: Annotated[
        list[str] | None,
        _input(
            "--property",
            metavar="KEY=VALUE",
            help="Property of librdkafka; KEY=@FILE reads the value from a file. Repeatable.",
            show_default=False,  # a file's may be secret
        ),
    ] = field(default=None, repr=False)
    property_files: Annotated[
        list[Path] | None,
        _input(
            "--property-file",
            metavar="FILE",
            help="File with one KEY=VALUE a line. Repeatable.",
        ),
    ] = None

    model: Annotated[
        str,
        _model(
            metavar="REF",
            help="Model: a folder, or a version in a store. The worker follows 'latest' while it runs.",
        ),
    ]
    text: Annotated[
        str,
        _model(metavar="FIELD", help="Field to embed, or a template: '{merchant} in {city}: {user.name}'."),
    ] = "text"
    heads: Annotated[
        str | None,
        _model(
            metavar="NAMES",
            help="Heads whose scores to add, separated by commas, or none.",
            show_default="all",
        ),
    ] = None
    mask: Annotated[
        list[str] | None,
        _model(
            metavar="MASKS",
            help="Masks that the model must have, such as ip,number; another model is refused. Repeatable.",
            show_default="any",
        ),
    ] = None
    pin: Annotated[bool, _model(help="Keep the model version found at start-up.")] = False
    model_seconds: Annotated[
        float, _model(min=0.1, metavar="SECONDS", help="How often to check for a newer model version.")
    ] = 30.0

    outputs: Annotated[
        list[str],
        _output(
            "--output",
            metavar="OUTPUT",
            help="topic:NAME, parquet:URI, delta:URI or iceberg:CATALOG/SPACE.TABLE. Repeatable. "
            "'topic:NAME where fraud_score >= 0.9' gets records with such a score.",
        ),
    ]
    dead_letters: Annotated[
        str, _output(metavar="OUTPUT", help="topic:NAME or parquet:URI for records that cannot be embedded.")
    ]
    format: Annotated[
        OutputFormat,
        _output(
            "--output-format",
            metavar="FORMAT",
            help="For output topics: json, msgpack, avro (one message a record) or arrow (IPC batches).",
        ),
    ] = "json"
    fields: Annotated[
        str | None,
        _output(
            metavar="FIELDS",
            help="Fields to keep, with types if needed: 'id:int64,merchant'.",
            show_default="all",
        ),
    ] = None
    mask_fields: Annotated[
        str | None,
        _output(
            metavar="FIELDS",
            help="Kept fields to mask with the model's masks, separated by commas. Masks dead letters too.",
            show_default="none",
        ),
    ] = None
    vectors: Annotated[
        Layout,
        _output(
            metavar="LAYOUT",
            help="list, which every tool reads, or binary (base64 in JSON), which is far faster.",
        ),
    ] = "list"
    dtype: Annotated[
        Dtype,
        _output(
            metavar="TYPE",
            help="Type of the vector elements: float32, float16 or int8, which scales each vector to ±127.",
        ),
    ] = "float32"
    delete_columns: Annotated[
        bool,
        _output(
            "--delete-columns",
            help="Write tombstones to Parquet, tables and Arrow as rows, with the columns message_key and "
            "deleted.",
        ),
    ] = False
    rows_per_file: Annotated[int, _output(min=1, metavar="N", help="Offsets in one Parquet file.")] = 65_536
    mib_per_file: Annotated[
        int,
        _output(min=1, metavar="MIB", help="MiB of records in memory for one file of Parquet or a table."),
    ] = 256
    seconds_per_file: Annotated[
        float,
        _output(
            min=0.1,
            metavar="SECONDS",
            help="Write a Parquet file, or commit to a table, when its oldest record is this old.",
        ),
    ] = 60.0
    partition_by: Annotated[
        str | None,
        _output(
            metavar="COLUMNS",
            help="Columns, and periods of them, that rows are kept apart by: 'day(at),country'. Makes "
            "folders of Parquet, and partitions of a table that is created.",
            show_default="none",
        ),
    ] = None

    delivery: Annotated[
        Literal["exactly-once", "at-least-once"],
        _delivery(
            metavar="GUARANTEE",
            help="For output topics: exactly-once or at-least-once. Parquet and tables always hold each "
            "record once.",
        ),
    ] = "exactly-once"
    instance: Annotated[
        str | None,
        _delivery(
            metavar="NAME",
            help="Name of this replica, the same after a restart. It keeps its partitions, and ends the "
            "transaction that a killed process left open.",
        ),
    ] = None
    commit_seconds: Annotated[
        float,
        _delivery(
            min=0.001, metavar="SECONDS", help="Time between commits; 20 times as long during a backlog."
        ),
    ] = 0.05
    transaction_records: Annotated[
        int, _delivery(min=1, metavar="N", help="Number of records after which to commit early.")
    ] = 100_000
    max_dead_letters: Annotated[
        str,
        _delivery(
            metavar="SHARE",
            help="Share of a partition's last 10,000 records that may fail before the worker stops.",
        ),
    ] = "10%"

    accept_new_input: Annotated[
        bool,
        _delivery(
            "--accept-new-input",
            help="Read a topic that was created again, or that is on another cluster, from its beginning.",
        ),
    ] = False
    tombstones: Annotated[
        Tombstones,
        _delivery(
            metavar="WHAT",
            help="What becomes of messages with a key and no value: pass, drop or dead-letter.",
        ),
    ] = "pass"

    max_memory: Annotated[
        int,
        _operations(min=64, metavar="MIB", help="MiB for records that wait for Parquet outputs and tables."),
    ] = 1024
    drift_window: Annotated[
        str,
        _operations(
            metavar="TIME",
            help="How often to compare the records of a window with the model's drift baseline, if it has "
            "one; 0s for never.",
        ),
    ] = "10m"
    drift_records: Annotated[
        int, _operations(min=100, metavar="N", help="Minimum number of records in such a window.")
    ] = 1000
    drift_output: Annotated[
        str | None,
        _operations(
            metavar="OUTPUT",
            help="topic:NAME or file:PATH for a line of JSON per window, with the offsets of its most "
            "unusual records.",
        ),
    ] = None
    listen: Annotated[
        str | None, _operations(metavar="HOST:PORT", help="Address for /healthz, /readyz and /metrics.")
    ] = None
    stuck_seconds: Annotated[
        float, _operations(min=1, metavar="SECONDS", help="End the process when a call blocks for this long.")
    ] = 60.0
    log_format: Annotated[
        Literal["json", "text"], _operations(metavar="FORMAT", help="Format of log lines: json or text.")
    ] = "json"
