"""A table as the output of a backfill: parts wait beside its data, and become its rows in one commit.

The commit has the job's key among the table's offsets, so that a job that runs again commits nothing twice.
"""

import hashlib
from dataclasses import replace

import msgspec

from encoder.errors import ConfigurationError, StoreUnavailable
from pipelines.beam.backfill.job import BackfillJob, TableOutput
from pipelines.sinks.output_claim import MASKED, OutputClaim
from pipelines.sinks.parquet import ParquetParts
from pipelines.sinks.tables.columns import missing_columns
from pipelines.sinks.tables.markers import TableMarkers
from pipelines.sinks.tables.outputs import open_table
from pipelines.sinks.tables.port import ATTEMPTS, Conflict, Offset, Table, TableState, pause

__all__ = ["commit_parts", "is_committed", "open_output"]

_CLAIMED = ("text", "vectors", "heads", MASKED)  # what all jobs that write into a table have in common


def open_output(job: BackfillJob) -> BackfillJob:
    """Create and claim the table of a job that has one; gives the job with the folder for its parts.

    Raises:
        ConfigurationError: the table has columns of other types, or is partitioned.
        OutputConflict: backfills with other options have written into it.
        StoreUnavailable: the catalog or the storage does not answer.
    """
    if job.table is None:
        return job
    table, encoder = _open(job.table), job.model.load()
    wanted = table.stored(job.enrichment.schema(job.schema, encoder))
    for _ in range(ATTEMPTS):
        if (state := table.look()) is None:
            table.create(wanted)
            continue
        if state.is_partitioned:
            raise ConfigurationError(
                f"{table.uri} is partitioned, and backfills write only tables that are not: name "
                "another table"
            )
        if not (new := missing_columns(state.schema, wanted, table.uri)).names:
            break
        try:
            state.add_columns(new)
        except Conflict:
            pause()
    else:
        raise StoreUnavailable(f"{table.uri} changes too often to add its columns")
    description = job.description()
    options = {name: description[name] for name in _CLAIMED}
    OutputClaim("backfill", options, unsaid={MASKED: []}).take(TableMarkers(table))
    output = state.part_folder(f"millstream-{_digest(job)}")
    return replace(job, output=output, table=replace(job.table, columns=state.schema))


def is_committed(job: BackfillJob) -> bool:
    """Whether the rows of a job are in its table."""
    assert job.table is not None
    state = _open(job.table).look()
    return state is not None and state.offset(_key(job)) is not None


def commit_parts(job: BackfillJob) -> None:
    """Make all parts of a job rows of its table, in one commit, unless they are.

    Raises:
        ConfigurationError: the table is gone.
        StoreUnavailable: the catalog or the storage does not answer.
    """
    assert job.table is not None
    table, names = _open(job.table), ParquetParts(job.output).names()
    for _ in range(ATTEMPTS):
        state = _look(table)
        if state.offset(_key(job)) is not None:
            return
        try:
            state.append(state.files_of(job.output, names), {_key(job): Offset(0, 1)})
        except Conflict:
            pause()
        else:
            return
    raise StoreUnavailable(f"{table.uri}: {ATTEMPTS} commits conflicted with those of others: run it again")


def _open(output: TableOutput) -> Table:
    return open_table(output.form, output.target)


def _look(table: Table) -> TableState:
    if (state := table.look()) is None:
        raise ConfigurationError(f"there is no table {table.uri} any more: run the same command again")
    return state


def _key(job: BackfillJob) -> str:
    return f"backfill/{_digest(job)}"


def _digest(job: BackfillJob) -> str:
    """Sixteen digits that stand for all options that decide on the rows."""
    return hashlib.sha256(msgspec.json.encode(job.description(), order="sorted")).hexdigest()[:16]
