"""Who owns an output: a marker in a folder or a table says what writes there, and with which options.

    _job.json       a backfill
    _stream.json    a streaming Beam job
    _worker.json    Kafka workers, which share the folder

The marker is created before the first row and never replaced. Every later start reads it and stops with
`OutputConflict` where it would write other rows into the folder. A table has a marker of each kind of writer
as a property, since a backfill and workers may write into the same one.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec
import pyarrow as pa

from encoder.errors import OutputConflict
from pipelines.enrich.columns import VectorFormat
from pipelines.kafka.topic_patterns import matches
from pipelines.sinks.tables.markers import Markers, TableMarkers
from pipelines.sinks.tables.partitioning import PartitionField

__all__ = ["DELETES", "MARKERS", "MASKED", "PARTITIONED", "UNSAID", "OutputClaim", "claim", "claimed_schema"]

Writer = Literal["backfill", "stream", "worker"]

MARKERS: Mapping[Writer, str] = {
    "backfill": "_job.json",
    "stream": "_stream.json",
    "worker": "_worker.json",
}
"""The marker of each kind of writer."""

DELETES = "delete columns"
"""The option that says whether rows have the columns of deletes."""

MASKED = "mask fields"
"""The option that says which fields are masked."""

PARTITIONED = "partition by"
"""The option that says by what rows are kept apart."""

UNSAID: Mapping[str, Any] = {DELETES: False, MASKED: [], PARTITIONED: []}
"""What a marker means that an earlier version wrote without these options."""

_LONG = 200  # characters: an error does not show the values of such a difference


@dataclass(frozen=True)
class OutputClaim:
    """A job's claim to an output folder.

    Attributes:
        writer: what kind of job it is.
        options: JSON values that decide which rows it writes. They must equal those in the marker; an option
            that is not in the marker, because an earlier version wrote it, is not compared.
        details: JSON values that are kept in the marker beside the options, and not compared.
        files: matches the names of the Parquet files that the job writes into the folder itself; with None,
            other Parquet files may be there.
        unsaid: for options that earlier versions did not have, what a marker without them means.
    """

    writer: Writer
    options: Mapping[str, Any]
    details: Mapping[str, Any] = field(default_factory=dict)
    files: re.Pattern[str] | None = None
    unsaid: Mapping[str, Any] = field(default_factory=dict)

    def take(self, objects: Markers) -> dict[str, Any]:
        """Make the output this job's; where several jobs start together, the first one wins.

        Returns:
            What the marker says.

        Raises:
            OutputConflict: the folder holds something else.
        """
        # Listed before the marker is read: a job that starts at the same time writes its marker before rows.
        keys: list[str] = []
        if self.files and not isinstance(objects, TableMarkers):
            keys = [info.key for info in objects.scan("") if info.key.endswith(".parquet")]
        found = self.check(objects)
        for key in keys:
            if found is None or not (self.files and self.files.fullmatch(key)):
                raise conflict(objects, f"{key}, which no {self.writer} wrote")
        if found is None:
            objects.create(MARKERS[self.writer], msgspec.json.encode({**self.options, **self.details}))
            found = self.check(objects)
        return found or {}

    def check(self, objects: Markers) -> dict[str, Any] | None:
        """Compare this claim with the output's marker; writes nothing.

        Returns:
            What the marker says, or None if there is none.

        Raises:
            OutputConflict: the output belongs to another job.
        """
        if objects.stat(MARKERS[self.writer]) is None:
            for writer, marker in MARKERS.items():
                if not isinstance(objects, TableMarkers) and objects.stat(marker) is not None:
                    raise conflict(objects, f"the output of a {writer}")
            return None
        try:
            found = msgspec.json.decode(objects.read(MARKERS[self.writer]), type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise conflict(objects, f"a damaged {MARKERS[self.writer]} ({error})") from error
        wanted = msgspec.json.decode(msgspec.json.encode(self.options))
        known = {**self.unsaid, **found}
        for name, value in wanted.items():
            if name in known and known[name] != value:
                raise self.differs(objects, name, known[name], value, is_older=bool(wanted.keys() - known))
        return found

    def differs(
        self, objects: Markers, name: str, found: object, wanted: object, *, is_older: bool = False
    ) -> OutputConflict:
        """The error for one thing in which the folder's marker and this job differ.

        Args:
            objects: the folder or the table.
            name: of the option.
            found: its value in the marker.
            wanted: its value for this job.
            is_older: whether an earlier release wrote the marker.
        """
        if isinstance(found, dict) and isinstance(wanted, dict):
            key = next((key for key in wanted if found.get(key) != wanted[key]), "")
            return self.differs(
                objects, f"{name} {key}".strip(), found.get(key), wanted.get(key), is_older=is_older
            )
        difference = f"{name}: {found}, not {wanted}"
        if isinstance(found, list) and isinstance(wanted, list):
            more = [one for one in wanted if one not in found]
            difference = f"{name} without {', '.join(map(str, more))}" if more else difference
        if len(difference) > _LONG:
            difference = f"with other {name}"
        what = f"the output of another {self.writer} ({difference})"
        if is_older and self.writer == "backfill":
            return conflict(objects, f"{what}, begun with an earlier release", "finish it with that one, or ")
        return conflict(objects, what)


def conflict(objects: Markers, what: str, way_out: str = "") -> OutputConflict:
    """The error for a folder or a table that holds something else."""
    other = "table" if isinstance(objects, TableMarkers) else "folder"
    return OutputConflict(f"{objects.uri} holds {what}: {way_out}name another {other}")


class WorkerSettings(Protocol):
    """The settings of a worker that decide what its Parquet files hold."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Topics, and regular expressions that begin with `^`."""

    @property
    def text(self) -> str:
        """The text template."""

    @property
    def vectors(self) -> VectorFormat:
        """How vectors are written."""

    @property
    def heads(self) -> tuple[str, ...] | None:
        """The heads whose scores are added; None for all."""

    @property
    def delete_columns(self) -> bool:
        """Whether rows have the columns of deletes."""

    @property
    def partitions(self) -> tuple[PartitionField, ...]:
        """By what rows are kept apart."""

    @property
    def fields(self) -> tuple[str, ...] | None:
        """The fields that are kept; None for all."""

    @property
    def mask_fields(self) -> tuple[str, ...]:
        """The fields that are masked."""

    @property
    def types(self) -> Mapping[str, pa.DataType]:
        """Types of fields."""


def claimed_schema(objects: Markers, settings: WorkerSettings, dim: int) -> pa.Schema | None:
    """The columns of a worker's folder, or None if no worker has claimed it; writes nothing.

    Args:
        objects: the folder or the table.
        settings: of the worker.
        dim: the number of dimensions of its model.

    Raises:
        OutputConflict: the folder holds other topics or columns than the settings name, or another job's
            output.
    """
    claim = _worker_claim(settings, dim, in_folders=not isinstance(objects, TableMarkers))
    found = claim.check(objects)
    return None if found is None else _schema(objects, claim, found, settings)


def claim(objects: Markers, settings: WorkerSettings, schema: pa.Schema, dim: int) -> pa.Schema:
    """Claim a folder for workers; where several start together, the first one decides on the columns.

    Args:
        objects: the folder or the table.
        settings: of the worker.
        schema: the columns of its records.
        dim: the number of dimensions of its model.

    Returns:
        The columns that all of them write.

    Raises:
        OutputConflict: the folder holds other topics or columns than the settings name, or another job's
            output.
    """
    details = {
        "inputs": list(settings.inputs),
        "fields": [f"{field.name}: {field.type}" for field in schema],
        "arrow_schema": base64.b64encode(schema.serialize().to_pybytes()).decode(),
    }
    claim = _worker_claim(settings, dim, details, in_folders=not isinstance(objects, TableMarkers))
    return _schema(objects, claim, claim.take(objects), settings)


def _worker_claim(
    settings: WorkerSettings, dim: int, details: Mapping[str, Any] | None = None, *, in_folders: bool
) -> OutputClaim:
    # Earlier versions wrote `text` and never compared it: their folders may hold rows of other templates.
    options = {
        "template": settings.text,
        "vectors": settings.vectors,
        "heads": settings.heads,
        "dimensions": dim,
        DELETES: settings.delete_columns,
        MASKED: settings.mask_fields,
        PARTITIONED: list(map(str, settings.partitions if in_folders else ())),
    }
    return OutputClaim("worker", options, details or {}, unsaid=UNSAID)


def _schema(
    objects: Markers, claim: OutputClaim, found: dict[str, Any], settings: WorkerSettings
) -> pa.Schema:
    """The columns in a worker's marker, if they are those that the settings name."""
    known, wanted = found["inputs"], settings.inputs
    if not any(_overlap(one, other) for one in known for other in wanted):
        raise claim.differs(objects, "inputs", ", ".join(known), ", ".join(wanted))
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(found["arrow_schema"])))
    for name in settings.fields or ():
        if name not in schema.names:
            raise claim.differs(objects, "fields", ", ".join(schema.names), f"one named {name!r}")
    for name, kind in settings.types.items():
        if name in schema.names and schema.field(name).type != kind:
            raise claim.differs(objects, f"type of {name!r}", schema.field(name).type, kind)
    return schema


def _overlap(known: str, wanted: str) -> bool:
    """Whether two inputs are the same, or one is an expression that matches the other."""
    return known == wanted or matches(known, wanted) or matches(wanted, known)
