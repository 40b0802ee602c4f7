"""Preparing a worker: what talks to the outside between a plan and the first record.

`prepare` loads the model, connects to the cluster, and opens the schema registry, the Parquet folders and the
table. It also claims the folder or the table of the output, except for `check`, which writes nothing.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
from confluent_kafka.admin import AdminClient

from encoder import Encoder
from encoder.errors import ConfigurationError, NotInStore
from encoder.heads.scoring import Heads
from encoder.store.objects import Objects, open_objects
from encoder.store.publish import prove_create_only
from pipelines.enrich.columns import score_fields
from pipelines.enrich.delete_columns import check_names, schema_with_deletes
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_follower import ModelFollower
from pipelines.kafka.admin import (
    check_group,
    check_topics,
    check_transactions,
    compacted,
    connect,
    max_message_bytes,
    may_use_group,
    time_limits,
)
from pipelines.kafka.config import consumer_properties, shown
from pipelines.kafka.messages import TimeLimits
from pipelines.kafka.sample import sample_values
from pipelines.records.masked_fields import MaskedFields
from pipelines.sinks.hive_folders import check_folders
from pipelines.sinks.kafka import record_encoder
from pipelines.sinks.output_claim import claim, claimed_schema
from pipelines.sinks.tables.columns import missing_columns
from pipelines.sinks.tables.markers import Markers, TableMarkers
from pipelines.sinks.tables.outputs import TABLE_FORMATS, open_table
from pipelines.sinks.tables.partitioning import check_partitions
from pipelines.sinks.tables.port import Table
from pipelines.worker.arrow_values import ArrowValues, needed_columns
from pipelines.worker.configuration.columns import fields_seen, kept_columns, output_schema
from pipelines.worker.configuration.plan import Plan
from pipelines.worker.configuration.schemas import Known, Schemas
from pipelines.worker.decode import PlainValues, RecordDecoder, RegistryValues, ValueDecoder
from pipelines.worker.inputs import Inputs
from pipelines.worker.sinks import Encode
from pipelines.worker.telemetry.tracing import OFF, Spans
from pipelines.worker.topic_claims import TopicClaims
from pipelines.worker.unpack import OneEach, RowsOfEach, Unpack

if TYPE_CHECKING:
    from pipelines.sinks.encoding.avro_records import AvroFromAvro, AvroFromColumns

__all__ = ["Prepared", "check", "prepare"]


@dataclass(frozen=True)
class Cluster:
    """What the Kafka cluster says about the topics of a plan.

    Attributes:
        admin: a client.
        consumer: properties of the consumer.
        reads: the topics to read, those that match an expression included, and their numbers of partitions.
        writes: the topics to write, and their numbers of partitions.
        max_bytes: the largest message that each topic in `writes` takes.
        limits: the timestamps that each topic in `writes` accepts.
        compacted: the topics in `writes` that take no message without a key.
    """

    admin: AdminClient
    consumer: dict[str, str]
    reads: dict[str, int]
    writes: dict[str, int]
    max_bytes: dict[str, int]
    limits: dict[str, TimeLimits]
    compacted: frozenset[str]

    @classmethod
    def look_at(cls, plan: Plan) -> "Cluster":
        """Connect, and check that the topics exist and that this user may use them and the group.

        Raises:
            ConfigurationError: a topic is missing, or the user may not do what the plan needs.
            TransientError: the brokers do not answer.
        """
        settings, described = plan.settings, not plan.embedded
        admin = connect(settings.brokers, plan.properties)
        if described:
            check_group(admin, settings.group)
        consumer = consumer_properties(
            plan.properties,
            brokers=settings.brokers,
            group=settings.group,
            instance=settings.instance,
            max_bytes=settings.max_memory << 20,
        )
        reads, writes = check_topics(admin, plan.inputs, plan.written_topics, described=described)
        written = plan.written_topics
        return cls(
            admin,
            consumer,
            reads,
            writes,
            max_message_bytes(admin, written, described=described),
            time_limits(admin, written, described=described),
            compacted(admin, written, described=described),
        )

    def sample(self) -> list[bytes | None]:
        """The values of the last messages of the input; nothing is committed."""
        return sample_values(self.consumer, self.reads)


@dataclass(frozen=True)
class Prepared:
    """A plan, and the connections and facts that it needs.

    Attributes:
        plan: the plan.
        follower: gives the model; to be closed.
        cluster: the topics.
        folders: the Parquet folders by URI.
        table: the table of the output, if it is one.
        inputs: knows what the names of the topics to read stand for; None if the brokers cannot tell.
        schemas: the schema registry, if the plan needs one.
        known: the schemas of the input that are known already.
        columns: the columns of records, if an output needs columns.
        messages: makes Avro messages, if an output needs them.
        masked: masks fields and dead letters; None if no field is masked.
    """

    plan: Plan
    follower: ModelFollower
    cluster: Cluster
    folders: dict[str, Objects]
    table: Table | None
    inputs: Inputs | None
    schemas: Schemas | None
    known: list[Known]
    columns: pa.Schema | None
    messages: "AvroFromAvro | AvroFromColumns | None"
    masked: MaskedFields | None = None

    def accept(self, encoder: Encoder) -> None:
        """Check that the table can hold what a model adds.

        Raises:
            ConfigurationError: a column has another type there, or no table can hold it.
        """
        if self.table is not None and self.columns is not None:
            _check_table(self.plan, self.table, self.columns, encoder)

    def decoder(self, spans: Spans = OFF) -> RecordDecoder:
        """A decoder of the input."""
        decode: ValueDecoder
        if self.schemas and self.plan.uses_registry:
            decode = RegistryValues(self.plan, self.columns, self.schemas.decoder(self.columns))
        elif self.plan.reads_arrow:
            decode = ArrowValues(self.plan, self.columns)
        else:
            decode = PlainValues(self.plan, self.columns)
        return RecordDecoder(self.plan, self.columns, decode, spans, self.masked)

    def unpack(self) -> Unpack:
        """What finds the records in messages."""
        if not self.plan.reads_arrow:
            return OneEach()
        plan = self.plan
        row_bytes = plan.vectors.row_bytes(self.follower.current().encoder.dim)
        return RowsOfEach(plan.message_bytes, row_bytes, needed_columns(plan))

    def encode(self) -> Encode | None:
        """Register the schemas of the output; what makes records into messages, or None for Arrow batches."""
        settings = self.plan.settings
        if self.messages is not None:
            self.messages.prepare(one.schema for one in self.known)
            return self.messages
        if settings.format in ("json", "msgpack"):
            encode = record_encoder(settings.format, self.plan.fields)
            return lambda batch: encode(
                batch.records or (), batch.batch.column("embedding"), batch.label, batch.scores
            )
        return None


def prepare(plan: Plan, *, check_only: bool = False) -> Prepared:
    """Load the model, connect to everything that the plan names, and claim the folder or the table.

    Args:
        plan: what the worker will do.
        check_only: read everything and write nothing: no folder is claimed, and it is not tried whether the
            store has create-only writes.

    Raises:
        MillstreamError: a model, a topic, a schema or an output is not as it must be; no record was read.
    """
    settings = plan.settings
    with ExitStack() as stack:
        follower = ModelFollower.start(
            settings.model, pin=settings.pin or check_only, every=settings.model_seconds, threads=1
        )
        stack.callback(follower.close)
        heads, masked = _heads(plan, follower), _masked(plan, follower)
        cluster = Cluster.look_at(plan)
        folders = {
            output.target: _open_folder(output.target, check_only=check_only)
            for output in (*plan.outputs, plan.dead_letters)
            if output.kind == "parquet"
        }
        table = _open_table(plan)
        markers: list[Markers] = [*folders.values()] + ([] if table is None else [TableMarkers(table)])
        inputs = _inputs(plan, cluster, markers)
        schemas = Schemas(plan) if plan.uses_registry or plan.avro_messages else None
        known = schemas.known(list(cluster.reads)) if schemas else []
        encoder = follower.current().encoder
        columns = _columns(plan, cluster, schemas, folders, table, encoder, check_only=check_only)
        if masked and columns is not None:
            masked.check(pa.schema([columns.field(name) for name in kept_columns(plan, columns)]))
        messages = schemas.messages(columns, score_fields(heads)) if schemas and plan.avro_messages else None
        if schemas and messages and plan.uses_registry and not known:
            known = schemas.of_sample(cluster.sample())
        stack.pop_all()
    return Prepared(
        plan, follower, cluster, folders, table, inputs, schemas, known, columns, messages, masked
    )


def _open_folder(uri: str, *, check_only: bool) -> Objects:
    folder = open_objects(uri)
    if not check_only:
        prove_create_only(folder)
        return folder
    try:
        folder.folders()  # shows that the bucket exists and that this user may read it
    except NotInStore as error:
        raise NotInStore(f"there is no bucket for {uri}: create it first") from error
    return folder


def _open_table(plan: Plan) -> Table | None:
    output = plan.rows_output
    if output is None or output.kind not in TABLE_FORMATS:
        return None
    return open_table(output.kind, output.target, plan.partitions)


def _inputs(plan: Plan, cluster: Cluster, markers: Sequence[Markers]) -> Inputs | None:
    """What the names of the topics stand for, if they are those that the group and the outputs know."""
    if plan.embedded:
        return None
    group, accept = plan.settings.group, plan.settings.accept_new_input
    written = {topic: cluster.writes[topic] for topic in plan.topics}
    admin, claims = cluster.admin, None
    if not markers:
        allowed = partial(may_use_group, admin)
        claims = TopicClaims(group, written, cluster.consumer, accept=accept, may_use=allowed)
    inputs = Inputs(admin, group, markers, claims, accept=accept)
    inputs.look_at(cluster.reads)
    inputs.warn_if_unread(written)
    return inputs


def _heads(plan: Plan, follower: ModelFollower) -> Heads:
    heads = follower.current().encoder.heads
    return heads if plan.heads is None else heads.only(plan.heads)


def _masked(plan: Plan, follower: ModelFollower) -> MaskedFields | None:
    """What masks fields, if the model has the masks that it must have."""
    enrichment = Enrichment(plan.template, mask_fields=plan.mask_fields, masks=plan.masks)
    return enrichment.settled(follower.current().encoder).masked()


def _columns(
    plan: Plan,
    cluster: Cluster,
    schemas: Schemas | None,
    folders: dict[str, Objects],
    table: Table | None,
    encoder: Encoder,
    *,
    check_only: bool,
) -> pa.Schema | None:
    """The columns that the output has already, or those of a sample of the input."""
    if not plan.needs_columns:
        return None
    markers: Markers | None = None if table is None else TableMarkers(table)
    if plan.rows_output is not None and table is None:
        markers = folders[plan.rows_output.target]
    if markers is not None and (claimed := claimed_schema(markers, plan, encoder.dim)) is not None:
        if table is not None:
            _check_table(plan, table, claimed, encoder)
        return claimed
    sample = cluster.sample()
    if schemas and plan.uses_registry:
        seen = schemas.fields(sample, list(cluster.reads))
    else:
        seen = fields_seen(plan, sample)
    schema = output_schema(plan, seen)
    if not schema.names:
        raise ConfigurationError(
            f"{plan.input_names} has no records to take the columns from: name the fields with their types, "
            "as in --fields id:int64,message:string"
        )
    if plan.delete_columns:
        check_names(kept_columns(plan, schema), "--fields")
    if table is not None:
        stored = _check_table(plan, table, schema, encoder)
        if not check_only:
            table.create(stored)
    else:
        kept = pa.schema([schema.field(name) for name in kept_columns(plan, schema)])
        check_folders(plan.partitions, kept, plan.mask_fields)
    return schema if markers is None or check_only else claim(markers, plan, schema, encoder.dim)


def _check_table(plan: Plan, table: Table, columns: pa.Schema, encoder: Encoder) -> pa.Schema:
    """The columns of the rows as the table stores them.

    Raises:
        ConfigurationError: no table can hold one of them, or this one has another of its name.
    """
    kept = pa.schema([columns.field(name) for name in kept_columns(plan, columns)])
    schema = Enrichment(plan.template, tuple(kept.names), plan.vectors, plan.heads).schema(kept, encoder)
    stored = table.stored(schema_with_deletes(schema) if plan.delete_columns else schema)
    check_partitions(plan.partitions, stored)
    if (state := table.look()) is not None:
        missing_columns(state.schema, stored, table.uri)
    return stored


def _deletes(plan: Plan) -> str:
    """What becomes of deletes."""
    if plan.settings.tombstones != "pass":
        return plan.settings.tombstones
    if not plan.passes_deletes:
        return "dead-letter, as no output can hold them without --delete-columns"
    if plan.rows_output and not plan.delete_columns:
        where = "Parquet" if plan.rows_output.kind == "parquet" else "the table"
        return f"pass, to topics; {where} holds them with --delete-columns"
    return "pass"


def check(plan: Plan) -> list[tuple[str, str]]:
    """Check everything that a worker needs, without joining the group and without writing anything.

    The check for transactions takes an unused transactional id, which Kafka forgets after a week.

    Returns:
        Names and values of what was found.

    Raises:
        MillstreamError: the first thing that is not as it must be.
    """
    prepared = prepare(plan, check_only=True)
    follower, cluster, settings = prepared.follower, prepared.cluster, plan.settings
    follower.close()
    follower.only_if(prepared.decoder().accept)  # the table was looked at
    if plan.written_topics and settings.delivery == "exactly-once" and settings.instance is None:
        check_transactions(settings.brokers, plan.properties, f"{settings.group}-")
    found = [
        ("model", follower.current().label + (" (from the cache)" if follower.from_cache else "")),
        ("heads", ", ".join(_heads(plan, follower).names) or "none"),
        *(("input", f"topic {topic}, {n} partitions") for topic, n in cluster.reads.items()),
    ]
    for topic in plan.topics:
        n_partitions, max_bytes = cluster.writes[topic], cluster.max_bytes[topic]
        about = f"topic {topic}, {n_partitions} partitions, {max_bytes:,} bytes a message"
        where = f", where {plan.conditions[topic].source}" if topic in plan.conditions else ""
        found.append(("output", about + where))
    if prepared.table is not None:
        found.append(("output", prepared.table.uri + ("" if prepared.table.look() else ", to be created")))
    elif plan.rows_output:
        found.append(("output", plan.rows_output.target))
    if prepared.schemas is not None:
        found.append(("schema registry", prepared.schemas.registry.url))
        found += [("input schema", one.about) for one in prepared.known]
    if prepared.messages is not None:
        looks = prepared.messages.preview(one.schema for one in prepared.known)
        found += [("output schema", f"subject {subject}, {what}") for subject, what in looks]
    if prepared.columns is not None:
        found.append(("columns", ", ".join(f"{field.name}: {field.type}" for field in prepared.columns)))
    found.append(("dead letters", f"{plan.dead_letters.kind} {plan.dead_letters.target}"))
    found.append(("masks", str(follower.current().encoder.masks)))
    if prepared.masked is not None:
        found.append(("masked fields", ", ".join(prepared.masked.names)))
    found.append(("delivery", settings.delivery))
    found.append(("tombstones", _deletes(plan)))
    found += [(f"property {key}", value) for key, value in sorted(shown(plan.properties).items())]
    return found
