"""What a worker is going to do: the model, the cluster and the outputs, looked at before anything is read."""

import pyarrow as pa

from encoder.errors import ConfigurationError
from encoder.heads.scoring import Heads
from encoder.store.objects import open_objects
from encoder.store.publish import prove_create_only
from pipelines.enrich.columns import score_fields
from pipelines.enrich.model_follower import ModelFollower
from pipelines.kafka.admin import check_group, check_topics, connect, max_message_bytes
from pipelines.kafka.config import consumer_properties
from pipelines.kafka.sample import sample_values
from pipelines.records.template import TextTemplate
from pipelines.sinks.kafka import record_encoder
from pipelines.sinks.output_claim import claim, claimed_schema
from pipelines.worker.decode import RecordMaker, fields_seen, output_schema
from pipelines.worker.framed_making import FramedRecordMaker
from pipelines.worker.schemas import Schemas
from pipelines.worker.settings import WorkerSettings
from pipelines.worker.sinks import Encode
from pipelines.worker.telemetry.tracing import Spans

__all__ = ["Plan", "wanted_heads"]


class Plan:
    """What is known after a look at the model, the cluster and the outputs.

    Args:
        settings: of the worker.
        heads: whose scores are added; see `wanted_heads`.

    Raises:
        MillstreamError: a topic, a schema or an output is not as it must be.
    """

    def __init__(self, settings: WorkerSettings, heads: Heads) -> None:
        TextTemplate.parse(settings.text)
        self.settings = settings
        self.consumer_properties = consumer_properties(
            settings.properties, brokers=settings.brokers, group=settings.group, instance=settings.instance
        )
        self.topics = [output.target for output in settings.topic_outputs]
        letters = settings.dead_letters
        self.letters_topic = letters.target if letters.kind == "topic" else None
        self.written = [*self.topics, *([self.letters_topic] if self.letters_topic else [])]
        admin = connect(settings.brokers, settings.properties)
        described = not settings.embedded
        if described:
            check_group(admin, settings.group)
        self.reads, self.writes = check_topics(admin, settings.inputs, self.written, described=described)
        self.max_bytes = max_message_bytes(admin, self.written, described=described)
        self.folders = {
            output.target: open_objects(output.target)
            for output in (*settings.parquet_outputs, letters)
            if output.kind == "parquet"
        }
        for objects in self.folders.values():
            prove_create_only(objects)
        self.schemas = Schemas(settings) if settings.framed or settings.avro_messages else None
        self.known = self.schemas.known(list(self.reads)) if self.schemas else []
        self.schema = self._schema() if settings.needs_columns else None
        self.messages = (
            self.schemas.messages(self.schema, score_fields(heads))
            if self.schemas and settings.avro_messages
            else None
        )
        if self.schemas and self.messages and settings.framed and not self.known:
            self.known = self.schemas.of_sample(self._sample())

    def _sample(self) -> list[bytes | None]:
        return sample_values(self.consumer_properties, self.reads)

    def _schema(self) -> pa.Schema:
        """The columns: those that the output has already, or those of a sample."""
        claims = [self.folders[output.target] for output in self.settings.parquet_outputs]
        claimed = claimed_schema(claims[0], self.settings) if claims else None
        if claimed is not None:
            return claimed
        sample = self._sample()
        if self.schemas and self.settings.framed:
            seen = self.schemas.fields(sample, list(self.reads))
        else:
            seen = fields_seen(self.settings, sample)
        schema = output_schema(self.settings, seen)
        if not schema.names:
            raise ConfigurationError(
                f"{self.settings.input_names}: no records, so their fields are not known: name them with "
                "their types, as in --fields id:int64,message:string"
            )
        return claim(claims[0], self.settings, schema) if claims else schema

    def maker(self, spans: Spans) -> RecordMaker | FramedRecordMaker:
        """What makes records of values."""
        if self.schemas and self.settings.framed:
            return FramedRecordMaker(self.settings, self.schema, self.schemas.decoder(self.schema), spans)
        return RecordMaker(self.settings, self.schema, spans)

    def encode(self) -> Encode | None:
        """What makes records into messages, its schemas registered; None for Arrow batches."""
        settings = self.settings
        if self.messages is not None:
            self.messages.prepare(one.schema for one in self.known)
            return self.messages
        if settings.format in ("json", "msgpack"):
            made = record_encoder(settings.format, settings.fields)
            return lambda batch: made(
                batch.records or (), batch.batch.column("embedding"), batch.label, batch.scores
            )
        return None


def wanted_heads(settings: WorkerSettings, follower: ModelFollower) -> Heads:
    """The heads of the model whose scores are added.

    Raises:
        ConfigurationError: the model lacks one.
    """
    heads = follower.current().encoder.heads
    return heads if settings.heads is None else heads.only(settings.heads)
