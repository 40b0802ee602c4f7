"""The columns of a worker's records: which ones, and of which types."""

from collections.abc import Sequence

import pyarrow as pa

from encoder.errors import ConfigurationError
from pipelines.enrich.enrichment import ADDED
from pipelines.formats.arrow.columns import columns_of
from pipelines.formats.messages import Value, columns_seen
from pipelines.formats.schema_registry import FieldTypes
from pipelines.records.type_names import json_has
from pipelines.worker.configuration.plan import Plan

__all__ = ["fields_seen", "kept_columns", "output_schema"]


def kept_columns(plan: Plan, schema: pa.Schema) -> tuple[str, ...]:
    """The columns to write: no columns for the text alone, and none with the name of an added column."""
    wanted = schema.names if plan.fields is None else plan.fields
    return tuple(name for name in schema.names if name in wanted and name not in ADDED)


def fields_seen(plan: Plan, sample: Sequence[Value]) -> FieldTypes:
    """The fields of a sample of JSON, text or Arrow."""
    if plan.reads_arrow:
        return columns_of(sample)
    return {field.name: field.type for field in columns_seen(sample, plan.plain_format)}


def output_schema(plan: Plan, seen: FieldTypes) -> pa.Schema:
    """The columns of the records: the fields that were seen, with the types that are set.

    Args:
        plan: of the worker.
        seen: the fields of the input, from a sample or from schemas.

    Raises:
        ConfigurationError: a field was not seen and has no type, or no column can hold it.
    """
    types: FieldTypes = {**seen, **plan.types}
    _check_json(plan)
    names = [name for name in types if name not in ADDED] if plan.fields is None else list(plan.fields)
    if not plan.uses_registry:  # the text is made from columns
        names += [name for name in plan.template.columns if name in types and name not in names]
    return pa.schema([pa.field(name, _column(name, types)) for name in names])


def _check_json(plan: Plan) -> None:
    """Check that JSON has the types that are set."""
    if plan.uses_registry or plan.reads_arrow:
        return
    for name, kind in plan.types.items():
        if not json_has(kind):
            raise ConfigurationError(
                f"the field {name!r} cannot be {kind}, as JSON has no such values: use string in --fields, "
                "or an integer type where they are numbers"
            )


def _column(name: str, types: FieldTypes) -> pa.DataType:
    kind = types.get(name)
    if kind is None:
        raise ConfigurationError(
            f"no record of the sample has the field {name!r}: give its type, as in --fields {name}:string"
        )
    if isinstance(kind, str):
        raise ConfigurationError(
            f"the field {name!r} is {kind}, which no column can hold: leave it out with --fields"
        )
    return kind
