"""What a worker is told: one value, checked before anything is connected."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from encoder.errors import ConfigurationError
from pipelines.enrich.columns import VectorFormat
from pipelines.formats import InputFormat, OutputFormat
from pipelines.kafka.config import matches
from pipelines.sinks.open_files import Rotation

__all__ = ["Output", "WorkerSettings", "parse_budget", "parse_fields"]

Delivery = Literal["exactly-once", "at-least-once"]
_KINDS = ("topic", "parquet")
_PERCENT = 100.0


@dataclass(frozen=True)
class Output:
    """Where records go: `topic:NAME` or `parquet:URI`."""

    kind: Literal["topic", "parquet"]
    target: str

    @classmethod
    def parse(cls, text: str) -> "Output":
        """Read an output.

        Raises:
            ConfigurationError: it is neither a topic nor a folder.
        """
        kind, colon, target = text.partition(":")
        if kind not in _KINDS or not colon or not target:
            raise ConfigurationError(f"cannot read the output {text!r}: write topic:NAME or parquet:URI")
        return cls("topic" if kind == "topic" else "parquet", target)


@dataclass(frozen=True)
class WorkerSettings:
    """A worker.

    Attributes:
        brokers: HOST:PORT, several separated by commas.
        group: the consumer group.
        inputs: the topics to read: names, and regular expressions that begin with `^`.
        text: the text template.
        model: the REF of the model.
        outputs: where enriched records go.
        dead_letters: where the others go.
        input_format: of the values.
        format: of the messages of output topics.
        delivery: whether a topic sees every record exactly once, or at least once; Parquet is always exact.
        fields: the fields to keep, or None for all.
        types: types of fields as Arrow names them, for Parquet and Arrow.
        vectors: how vectors are written.
        heads: the heads whose scores are added, or None for all that the model has.
        instance: the name of this replica, for static membership and its transactions; or None.
        pin: stay with the version of the model that is the latest at the start.
        model_seconds: between two looks for a newer version.
        commit_seconds: between two commits; twenty times as long while there is a backlog.
        transaction_records: after so many records there is a commit as well.
        rotation: of Parquet files.
        max_memory: bytes that the process uses for records, about.
        max_dead_letters: the share of bad records that is tolerated.
        properties: of librdkafka, and of the schema registry where they begin with `schema.registry.`.
        schema_registry: its URL, for Avro and Protobuf.
        embedded: whether the cluster is the one inside librdkafka, which knows neither transactions nor what
            topics are like.
    """

    brokers: str
    group: str
    inputs: tuple[str, ...]
    text: str
    model: str
    outputs: tuple[Output, ...]
    dead_letters: Output
    input_format: InputFormat = "json"
    format: OutputFormat = "json"
    delivery: Delivery = "exactly-once"
    fields: tuple[str, ...] | None = None
    types: dict[str, str] = field(default_factory=dict)
    vectors: VectorFormat = field(default_factory=VectorFormat)
    heads: tuple[str, ...] | None = None
    instance: str | None = None
    pin: bool = False
    model_seconds: float = 30.0
    commit_seconds: float = 0.05
    transaction_records: int = 100_000
    rotation: Rotation = field(default_factory=Rotation)
    max_memory: int = 1 << 30
    max_dead_letters: float = 0.1
    properties: dict[str, str] = field(default_factory=dict)
    schema_registry: str | None = None
    embedded: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked without a cluster.

        Raises:
            ConfigurationError: the settings contradict each other.
        """
        topics = [output.target for output in (*self.outputs, self.dead_letters) if output.kind == "topic"]
        self._check_inputs(topics)
        if len(set(topics)) < len(topics) or len(set(self.outputs)) < len(self.outputs):
            raise ConfigurationError("an output is named twice, or is the topic of the dead letters")
        if self.embedded and self.delivery == "exactly-once":
            raise ConfigurationError(
                "the cluster inside librdkafka knows no transactions: use --delivery at-least-once"
            )
        if self.schema_registry is None and (self.framed or self.avro_messages):
            named = f"--input-format {self.input_format}" if self.framed else "--format avro"
            raise ConfigurationError(
                f"{named} needs the schemas: say where they are with --schema-registry URL"
            )
        if not self.outputs:
            raise ConfigurationError("no output: name one with --output topic:NAME or --output parquet:URI")
        if len(self.parquet_outputs) > 1:
            raise ConfigurationError("only one of the outputs can be a Parquet folder")
        if self.parquet_outputs and self.dead_letters in self.parquet_outputs:
            raise ConfigurationError(
                "records and dead letters share a folder: name another one for the letters"
            )

    def _check_inputs(self, topics: Sequence[str]) -> None:
        if not self.inputs:
            raise ConfigurationError("no input: name a topic with --input")
        for topic in topics:
            if any(matches(wanted, topic) for wanted in self.inputs):
                raise ConfigurationError(
                    f"topic {topic!r} is input and output: the worker would go in circles"
                )

    @property
    def input_names(self) -> str:
        """The inputs, for people."""
        return ", ".join(self.inputs)

    @property
    def topic_outputs(self) -> tuple[Output, ...]:
        """The outputs that are topics."""
        return tuple(output for output in self.outputs if output.kind == "topic")

    @property
    def parquet_outputs(self) -> tuple[Output, ...]:
        """The outputs that are Parquet folders, at most one."""
        return tuple(output for output in self.outputs if output.kind == "parquet")

    @property
    def needs_objects(self) -> bool:
        """Whether records are needed with all their fields, whatever these are."""
        return bool(self.topic_outputs) and self.format in ("json", "msgpack")

    @property
    def needs_columns(self) -> bool:
        """Whether records are needed as columns of one schema."""
        return (
            bool(self.parquet_outputs)
            or (bool(self.topic_outputs) and self.format == "arrow")
            or (self.avro_messages and self.input_format != "avro")
        )

    @property
    def framed(self) -> bool:
        """Whether values begin with the id of their schema."""
        return self.input_format in ("avro", "protobuf")

    @property
    def avro_messages(self) -> bool:
        """Whether output topics have messages in Avro."""
        return bool(self.topic_outputs) and self.format == "avro"


def parse_fields(text: str | None) -> tuple[tuple[str, ...] | None, dict[str, str]]:
    """Read `id:int64,merchant`: the fields to keep, and the types of those that have one.

    Raises:
        ConfigurationError: a field has no name.
    """
    if text is None:
        return None, {}
    names, types = [], {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, kind = part.partition(":")
        if not name or (colon and not kind):
            raise ConfigurationError(
                f"cannot read the field {part!r}: write NAME or NAME:TYPE, as in id:int64"
            )
        names.append(name)
        if kind:
            types[name] = kind
    return tuple(names), types


def parse_budget(text: str) -> float:
    """Read `1%` or `0.01`.

    Raises:
        ConfigurationError: it is no share.
    """
    try:
        share = float(text.removesuffix("%")) / (_PERCENT if text.endswith("%") else 1.0)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigurationError(f"cannot read the error budget {text!r}: write a share, as in 1% or 0.01")
    return share
