"""The Avro schema of enriched records: the input's, with vector, model version and scores at the end."""

from collections.abc import Collection
from typing import Any

import msgspec
import pyarrow as pa

from pipelines.enrich.columns import VectorFormat
from pipelines.enrich.enrichment import ADDED
from pipelines.formats.avro.reader import parsed
from pipelines.formats.avro.types import avro_schema
from pipelines.formats.schema_registry import Schema

__all__ = ["kept_fields", "with_vectors"]

_NO_SCORES = pa.schema([])


def kept_fields(schema: Schema, wanted: Collection[str] | None, scores: pa.Schema = _NO_SCORES) -> list[str]:
    """The fields of a schema's records to keep, in order.

    Args:
        schema: of Avro records.
        wanted: the fields to keep, or None for all.
        scores: the columns of heads.

    Raises:
        SchemaError: it is no Avro schema of a record.
    """
    names = [field["name"] for field in parsed(schema)[0]["fields"]]
    added = {*ADDED, *scores.names}
    return [name for name in names if name not in added and (wanted is None or name in wanted)]


def with_vectors(
    schema: Schema,
    wanted: Collection[str] | None,
    vectors: VectorFormat,
    scores: pa.Schema = _NO_SCORES,
) -> Schema:
    """The schema of enriched records: the kept fields, then the added ones.

    Args:
        schema: of the records.
        wanted: the fields to keep, or None for all.
        vectors: how vectors are written.
        scores: the columns of heads, from `score_schema`.

    Raises:
        SchemaError: it is no Avro schema of a record.
    """
    found, names = parsed(schema)
    keep = kept_fields(schema, wanted, scores)
    added = [*_added(vectors), *avro_schema(scores, found["name"])["fields"]]
    if len(keep) == len(found["fields"]) and not _mentions(found["fields"], found["name"]):
        whole = msgspec.json.decode(schema.text)  # as registered, with its docs
        whole["fields"] += added
    else:
        whole = _part(found, keep, names, set(_foreign(schema)))
        whole["fields"] += added
    return schema._replace(text=msgspec.json.encode(whole).decode())


def _added(vectors: VectorFormat) -> list[dict[str, Any]]:
    """The added fields; Avro has no float16 and no int8, so these are wider in arrays."""
    if vectors.layout == "binary":
        what: Any = "bytes"
        doc = f"{vectors.dtype} numbers, little endian" if vectors.dtype != "int8" else "int8 numbers"
    else:
        what = {"type": "array", "items": "int" if vectors.dtype == "int8" else "float"}
        doc = f"{vectors.dtype} numbers"
    embedding, label = ADDED
    return [{"name": embedding, "type": what, "doc": doc}, {"name": label, "type": "string"}]


def _foreign(schema: Schema) -> list[str]:
    """The names that referenced schemas define."""
    if not schema.parts:
        return []
    *others, last = schema.parts.values()
    return list(parsed(Schema("AVRO", last, (), dict(enumerate(others))))[1])  # type: ignore[arg-type] # only the order matters


def _mentions(schema: Any, name: str) -> bool:
    """Whether a name is used anywhere inside a schema."""
    if isinstance(schema, list):
        return any(_mentions(one, name) for one in schema)
    if isinstance(schema, dict):
        return any(
            _mentions(schema[key], name) for key in ("type", "items", "values", "fields") if key in schema
        )
    return bool(schema == name)


def _part(
    found: dict[str, Any], keep: Collection[str], names: dict[str, Any], defined: set[str]
) -> dict[str, Any]:
    """A record of some fields; a type that was defined in a dropped field is defined at its first use.

    If records contain records of the same type, the inner ones keep the name, and the outer one gets another.
    """
    whole = {key: value for key, value in found.items() if not key.startswith("__")}
    if _mentions(found["fields"], found["name"]):
        whole["name"] = f"{found['name']}Enriched"
    else:
        defined.add(found["name"])
    whole["fields"] = [
        {**field, "type": _defined(field["type"], names, defined)}
        for field in found["fields"]
        if field["name"] in keep
    ]
    return whole


def _defined(schema: Any, names: dict[str, Any], defined: set[str]) -> Any:
    """A type in which each name is defined at its first use."""
    if isinstance(schema, list):
        return [_defined(branch, names, defined) for branch in schema]
    if isinstance(schema, str):
        if schema in defined or schema not in names:
            return schema
        schema = names[schema]
    if (name := schema.get("name")) is not None:
        if name in defined:
            return name
        defined.add(name)
    made = {key: value for key, value in schema.items() if not key.startswith("__")}
    for key in ("items", "values"):
        if key in made:
            made[key] = _defined(made[key], names, defined)
    if isinstance(made["type"], (dict, list)):
        made["type"] = _defined(made["type"], names, defined)
    if "fields" in made:
        made["fields"] = [{**f, "type": _defined(f["type"], names, defined)} for f in made["fields"]]
    return made
