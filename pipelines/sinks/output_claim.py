"""The note in a Parquet output that says what its columns are: written by the first worker, heeded by all."""

import base64
from collections.abc import Mapping
from typing import Protocol

import msgspec
import pyarrow as pa

from encoder.errors import OutputConflict
from encoder.store.objects import Objects
from pipelines.kafka.config import matches

__all__ = ["claim", "claimed_schema"]

_CLAIM = "_worker.json"


class Claimant(Protocol):
    """What an output remembers of the worker that began it."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The topics that it reads."""

    @property
    def input_names(self) -> str:
        """The topics, for a message."""

    @property
    def text(self) -> str:
        """The template of a record's text."""

    @property
    def fields(self) -> tuple[str, ...] | None:
        """The fields that are kept; None for all."""

    @property
    def types(self) -> Mapping[str, str]:
        """The types of fields that were given."""


def claimed_schema(objects: Objects, settings: Claimant) -> pa.Schema | None:
    """The columns that the output was begun with, or None if it was not begun."""
    if objects.stat(_CLAIM) is None:
        return None
    found = msgspec.json.decode(objects.read(_CLAIM))
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(found["arrow_schema"])))
    if not any(_meet(known, wanted) for known in found["inputs"] for wanted in settings.inputs):
        raise OutputConflict(
            f"{objects.uri} holds records of {', '.join(found['inputs'])}: name another folder for "
            f"{settings.input_names}"
        )
    wanted = settings.fields
    missing = [name for name in wanted or () if name not in schema.names]
    changed = [n for n, kind in settings.types.items() if n in schema.names and schema.field(n).type != kind]
    if missing or changed:
        raise OutputConflict(
            f"{objects.uri} was begun without the field {(missing or changed)[0]!r} as it is wanted now: "
            "name another folder, or the fields as before"
        )
    return schema


def claim(objects: Objects, settings: Claimant, schema: pa.Schema) -> pa.Schema:
    """Begin an output; where workers begin it together, one of them says what the columns are."""
    claim = {
        "inputs": list(settings.inputs),
        "text": settings.text,
        "fields": [f"{field.name}: {field.type}" for field in schema],
        "arrow_schema": base64.b64encode(schema.serialize().to_pybytes()).decode(),
    }
    objects.create(_CLAIM, msgspec.json.encode(claim))
    claimed = claimed_schema(objects, settings)
    return schema if claimed is None else claimed


def _meet(known: str, wanted: str) -> bool:
    """Whether two inputs are the same, or one of them is an expression that matches the other."""
    return known == wanted or matches(known, wanted) or matches(wanted, known)
