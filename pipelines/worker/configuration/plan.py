"""A plan: the settings of a worker, parsed and checked. It is data; nothing is connected yet."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, cast

import pyarrow as pa

from encoder.errors import ConfigurationError
from encoder.masks import Masks
from pipelines.enrich.columns import VectorFormat, parse_heads
from pipelines.enrich.condition import Condition
from pipelines.formats import PlainFormat
from pipelines.kafka.config import parse_properties, transaction_timeout_ms
from pipelines.kafka.topic_patterns import matches, subscription
from pipelines.records.bad_rows import one_line
from pipelines.records.durations import seconds
from pipelines.records.template import TextTemplate
from pipelines.records.type_names import EXAMPLES, named_type
from pipelines.sinks.tables.partitioning import PartitionField, parse_partition_by
from pipelines.worker.configuration.settings import WorkerSettings

__all__ = ["Output", "Plan", "parse_budget", "parse_fields"]

_OUTPUTS = {
    "topic": "topic:NAME",
    "parquet": "parquet:URI",
    "iceberg": "iceberg:CATALOG/NAMESPACE.TABLE",
    "delta": "delta:URI",
}
_LETTERS = ("topic", "parquet")
_PERCENT = 100.0
_OPEN_SHARE = 0.8  # of a transaction's timeout; the rest is for the commit itself
_BACKLOG_FACTOR = 20
_ROWS_SHARE, _OBJECTS_SHARE = 4, 16  # of --max-memory; Python objects take several times as much as rows
_COMMA = re.compile(r",(?![^(\[]*[)\]])")  # those inside of a type's brackets are part of it


OutputKind = Literal["topic", "parquet", "iceberg", "delta"]


@dataclass(frozen=True)
class Output:
    """Where records go: `topic:NAME where CONDITION`, `parquet:URI`, or a table (`iceberg:…`, `delta:URI`).

    Attributes:
        where: which records go there, or None for all.
    """

    kind: OutputKind
    target: str
    where: Condition | None = None

    @classmethod
    def parse(cls, text: str, flag: str, kinds: Iterable[str] = _OUTPUTS) -> Self:
        """Parse an output.

        Args:
            text: as the user wrote it.
            flag: for messages.
            kinds: what it may be.

        Raises:
            ConfigurationError: it is no topic, folder or table, or the condition cannot be read; the message
                names the flag.
        """
        kind, colon, target = text.partition(":")
        if kind not in kinds or not colon or not target:
            raise ConfigurationError(f"cannot read {flag} {text!r}: write {_forms(kinds)}")
        if kind != "topic":
            return cls(cast("OutputKind", kind), target)
        topic, _, where = target.strip().partition(" ")
        word, _, condition = where.strip().partition(" ")
        if where and word != "where":
            raise ConfigurationError(f"cannot read {flag} {text!r}: write topic:NAME where CONDITION")
        return cls("topic", topic, Condition.parse(condition) if where else None)


def _forms(kinds: Iterable[str]) -> str:
    *others, last = (_OUTPUTS[kind] for kind in kinds)
    return f"{', '.join(others)} or {last}"


@dataclass(frozen=True)
class Plan:
    """What a worker will do.

    Attributes:
        settings: as the user wrote them.
        template: the text of a record.
        outputs: where enriched records go.
        dead_letters: where records go that cannot be enriched.
        fields: the fields to keep, or None for all.
        types: types of fields, for outputs with columns.
        vectors: how vectors are written.
        heads: the heads whose scores are added, or None for all.
        mask_fields: the fields that are masked.
        masks: the masks that a model must have, or None for any.
        max_dead_letters: the share of failed records that is tolerated, from 0 to 1.
        properties: of librdkafka, and of the schema registry's client if they begin with `schema.registry.`.
        partitions: by what the rows of Parquet files, or of a table that is created, are kept apart.
        drift_seconds: how long a window of drift is; 0 if none is measured.
        drift_topic, drift_file: where these windows are written, if anywhere.
        embedded: whether the cluster is the one inside librdkafka, which has no transactions or permissions.
    """

    settings: WorkerSettings
    template: TextTemplate
    outputs: tuple[Output, ...]
    dead_letters: Output
    fields: tuple[str, ...] | None
    types: Mapping[str, pa.DataType]
    vectors: VectorFormat
    heads: tuple[str, ...] | None
    mask_fields: tuple[str, ...]
    masks: Masks | None
    max_dead_letters: float
    properties: Mapping[str, str] = field(repr=False)
    embedded: bool = False
    partitions: tuple[PartitionField, ...] = ()
    drift_seconds: float = 0.0
    drift_topic: str | None = None
    drift_file: Path | None = None

    @classmethod
    def parse(cls, settings: WorkerSettings, *, embedded: bool = False) -> Self:
        """Make a plan from settings, from the property files that they name, and from the environment.

        Raises:
            ConfigurationError: a setting cannot be read, or two contradict each other.
            TemplateError: the text template cannot be read.
        """
        names, types = parse_fields(settings.fields)
        plan = cls(
            settings,
            template=TextTemplate.parse(settings.text),
            outputs=tuple(Output.parse(output, "--output") for output in settings.outputs),
            dead_letters=Output.parse(settings.dead_letters, "--dead-letters", _LETTERS),
            fields=names,
            types=types,
            vectors=VectorFormat(settings.vectors, settings.dtype),
            heads=parse_heads(settings.heads),
            mask_fields=tuple(filter(None, map(str.strip, (settings.mask_fields or "").split(",")))),
            masks=None if settings.mask is None else Masks.parse(settings.mask),
            max_dead_letters=parse_budget(settings.max_dead_letters),
            properties=parse_properties(settings.properties or (), settings.property_files or ()),
            embedded=embedded,
            partitions=parse_partition_by(settings.partition_by),
            drift_seconds=seconds(settings.drift_window, "--drift-window"),
            **_drift_output(settings.drift_output),
        )
        plan._check_topics()
        plan._check_folders()
        plan._check_conditions()
        plan._check_formats()
        plan._check_deletes()
        plan._check_masked()
        plan._check_times()
        plan._check_names()
        return plan

    def _check_topics(self) -> None:
        if not self.inputs:
            raise ConfigurationError("no input: name a topic with --input")
        for wanted in self.inputs:
            subscription(wanted)
        if not self.outputs:
            raise ConfigurationError(f"no output: name one with --output: {_forms(_OUTPUTS)}")
        for topic in self.written_topics:
            if any(matches(wanted, topic) for wanted in self.inputs):
                raise ConfigurationError(
                    f"topic {topic!r} is both input and output: the worker would read what it writes"
                )
        if len(set(self.written_topics)) < len(self.written_topics):
            raise ConfigurationError("two of --output, --dead-letters and --drift-output name the same topic")
        if self.written_topics and not (self.topics or self.dead_letter_topic):
            raise ConfigurationError(
                "--drift-output can be a topic only beside an output or dead letters that are topics: use "
                "--drift-output file:PATH"
            )

    def _check_folders(self) -> None:
        if len(self.outputs) > len(self.topics) + 1:
            raise ConfigurationError("only one --output can be a Parquet folder or a table")
        if self.partitions and self.rows_output is None:
            raise ConfigurationError("--partition-by is for Parquet and tables: leave it out")
        if self.dead_letters == self.rows_output:
            raise ConfigurationError(
                "--output and --dead-letters name the same folder: choose another one for dead letters"
            )

    def _check_conditions(self) -> None:
        if self.dead_letters.where is not None:
            raise ConfigurationError("--dead-letters takes all dead letters: leave out the condition")
        if self.conditions and self.settings.format == "arrow":
            raise ConfigurationError(
                "a condition chooses messages of one record, and --output-format arrow writes many in each: "
                "use json, msgpack or avro"
            )

    def _check_formats(self) -> None:
        if self.embedded and self.settings.delivery == "exactly-once":
            raise ConfigurationError(
                "the cluster inside librdkafka has no transactions: use --delivery at-least-once"
            )
        if self.settings.schema_registry is None and (self.uses_registry or self.avro_messages):
            needs = (
                f"--input-format {self.settings.input_format}"
                if self.uses_registry
                else "--output-format avro"
            )
            raise ConfigurationError(f"{needs} needs a schema registry: set --schema-registry URL")

    def _check_masked(self) -> None:
        if self.mask_fields and self.uses_registry and self.avro_messages:
            raise ConfigurationError(
                "--mask-fields cannot mask Avro messages that are copied as they came: use "
                "--output-format json"
            )
        for name in self.mask_fields:
            if self.fields is not None and not any(f"{name}.".startswith(f"{kept}.") for kept in self.fields):
                raise ConfigurationError(
                    f"--mask-fields names {name!r}, which is not a kept field: --fields keeps "
                    f"{', '.join(self.fields)}"
                )

    def _check_times(self) -> None:
        longest, seconds = _OPEN_SHARE * self.transaction_seconds, self.settings.commit_seconds
        if seconds > longest:
            raise ConfigurationError(
                f"--commit-seconds {seconds:g} is too long, as brokers abort a transaction after "
                f"{self.transaction_seconds:g} s (transaction.timeout.ms): at most {longest:g} works, or "
                "raise it with --property transaction.timeout.ms=MILLISECONDS"
            )

    def _check_names(self) -> None:
        """Check the names that librdkafka hands to transactions: it takes printable ASCII alone."""
        if math.isinf(self.transaction_seconds):
            return
        names = {
            "--group": self.settings.group,
            "--instance": self.settings.instance,
            "--property client.id": self.properties.get("client.id"),
        }
        for flag, name in names.items():
            if name and not (name.isascii() and name.isprintable()):
                raise ConfigurationError(
                    f"{flag} {name!r} has characters that Kafka's client does not take for transactions: "
                    "use ASCII letters, digits, '.', '_' and '-', or --delivery at-least-once"
                )

    @property
    def transaction_seconds(self) -> float:
        """How long a transaction may stay open; infinite without transactions."""
        if self.settings.delivery != "exactly-once" or not self.written_topics:
            return math.inf
        return transaction_timeout_ms(self.properties) / 1000

    @property
    def backlog_commit_seconds(self) -> float:
        """The time between commits during a backlog: longer, since each one blocks the loop."""
        seconds = self.settings.commit_seconds
        return min(_BACKLOG_FACTOR * seconds, max(seconds, self.transaction_seconds / 2))

    def _check_deletes(self) -> None:
        if not self.delete_columns:
            return
        if self.rows_output is None and not (self.topics and self.settings.format == "arrow"):
            raise ConfigurationError(
                "--delete-columns is for Parquet, tables and Arrow outputs: leave it out"
            )
        if self.settings.tombstones != "pass":
            raise ConfigurationError(
                f"--delete-columns is for deletes that are passed on, not for --tombstones "
                f"{self.settings.tombstones}: use one of them"
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        """The topics to read: names, and regular expressions that begin with `^`."""
        return tuple(self.settings.inputs)

    @property
    def input_names(self) -> str:
        """The inputs, for messages."""
        return ", ".join(self.inputs)

    @property
    def text(self) -> str:
        """The text template as the user wrote it."""
        return self.template.source

    @property
    def topics(self) -> tuple[str, ...]:
        """The output topics."""
        return tuple(output.target for output in self.outputs if output.kind == "topic")

    @property
    def conditions(self) -> dict[str, Condition]:
        """Which records go to the topics that do not get all."""
        return {output.target: output.where for output in self.outputs if output.where is not None}

    @property
    def dead_letter_topic(self) -> str | None:
        """The topic of dead letters, if they go to one."""
        return self.dead_letters.target if self.dead_letters.kind == "topic" else None

    @property
    def written_topics(self) -> tuple[str, ...]:
        """The output topics, the topic of dead letters, and that of drift."""
        others = (self.dead_letter_topic, self.drift_topic)
        return (*self.topics, *(topic for topic in others if topic is not None))

    @property
    def rows_output(self) -> Output | None:
        """The Parquet folder or the table of enriched records, if there is one."""
        return next((output for output in self.outputs if output.kind != "topic"), None)

    @property
    def needs_objects(self) -> bool:
        """Whether an output needs records with all their fields, whatever these are."""
        return bool(self.topics) and self.settings.format in ("json", "msgpack")

    @property
    def needs_columns(self) -> bool:
        """Whether an output needs records as columns of one schema."""
        return (
            self.rows_output is not None
            or (bool(self.topics) and self.settings.format == "arrow")
            or (self.avro_messages and self.settings.input_format != "avro")
        )

    @property
    def delete_columns(self) -> bool:
        """Whether Parquet rows and Arrow messages have the columns of deletes."""
        return self.settings.delete_columns

    @property
    def passes_deletes(self) -> bool:
        """Whether an output gets the deletes; if none can hold them, they are dead letters."""
        has_records = len(self.topics) > len(self.conditions) and self.settings.format != "arrow"
        return self.settings.tombstones == "pass" and (has_records or self.delete_columns)

    @property
    def uses_registry(self) -> bool:
        """Whether input values begin with the id of their schema."""
        return self.settings.input_format in ("avro", "protobuf")

    @property
    def reads_arrow(self) -> bool:
        """Whether input messages hold many records each."""
        return self.settings.input_format == "arrow"

    @property
    def values_are_text(self) -> bool:
        """Whether input values are text, so that a mask finds what is in them."""
        return not (self.uses_registry or self.reads_arrow)

    @property
    def message_bytes(self) -> int:
        """The bytes that the rows of one input message may have in memory."""
        share = _OBJECTS_SHARE if self.needs_objects else _ROWS_SHARE
        return (self.settings.max_memory << 20) // share

    @property
    def plain_format(self) -> PlainFormat:
        """The format of input values that need no schema registry."""
        return "text" if self.settings.input_format == "text" else "json"

    @property
    def avro_messages(self) -> bool:
        """Whether output topics get Avro messages."""
        return bool(self.topics) and self.settings.format == "avro"


def parse_fields(text: str | None) -> tuple[tuple[str, ...] | None, dict[str, pa.DataType]]:
    """Parse `id:int64,merchant` into the fields to keep and the types of those that have one.

    Raises:
        ConfigurationError: a field has no name, a colon without a type, or an unknown type.
    """
    if text is None:
        return None, {}
    types: dict[str, pa.DataType] = {}
    names = []
    for part in filter(None, map(str.strip, _COMMA.split(text))):
        name, colon, kind = part.partition(":")
        if not name or (colon and not kind):
            raise ConfigurationError(
                f"cannot read {part!r} in --fields: write NAME or NAME:TYPE, as in id:int64"
            )
        names.append(name)
        if kind:
            types[name] = _named_type(name, kind)
    return tuple(names), types


def _named_type(field: str, name: str) -> pa.DataType:
    try:
        return named_type(name.strip())
    except ValueError as error:
        raise ConfigurationError(
            f"the field {field!r} has the unknown type {name!r} in --fields ({one_line(error)}): use "
            f"{EXAMPLES}"
        ) from error


def _drift_output(text: str | None) -> dict[str, Any]:
    kind, _, target = (text or "").partition(":")
    if text is None:
        return {}
    if kind not in ("topic", "file") or not target:
        raise ConfigurationError(f"cannot read --drift-output {text!r}: write topic:NAME or file:PATH")
    return {"drift_topic": target} if kind == "topic" else {"drift_file": Path(target)}


def parse_budget(text: str) -> float:
    """Parse `1%` or `0.01` into a share from 0 to 1.

    Raises:
        ConfigurationError: it is not such a share.
    """
    try:
        share = float(text.removesuffix("%")) / (_PERCENT if text.endswith("%") else 1.0)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigurationError(f"cannot read --max-dead-letters {text!r}: write a share, as in 1% or 0.01")
    return share
