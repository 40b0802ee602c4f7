"""From the words of the command line to a job that can run: everything that can be wrong is found here."""

import posixpath
from collections.abc import Sequence
from fnmatch import fnmatchcase
from urllib.parse import unquote

from encoder.dtypes import Dtype
from encoder.errors import OutputConflict
from encoder.reference import store_uri
from encoder.uris import locate_uri, split_query
from pipelines.beam.backfill.job import BackfillJob
from pipelines.enrich import Layout
from pipelines.enrich.columns import VectorFormat
from pipelines.enrich.enrichment import Enrichment, chosen_heads
from pipelines.enrich.model_version import ModelVersion
from pipelines.formats import FileFormat
from pipelines.records.template import TextTemplate
from pipelines.sources.files.discovery import InputFile, find_inputs
from pipelines.sources.files.schema import infer_schema

__all__ = ["check_apart", "plan_backfill"]


def plan_backfill(
    *,
    model: str,
    pattern: str,
    output: str,
    text: str,
    keep: Sequence[str] | None = None,
    vectors: Layout = "list",
    dtype: Dtype = "float32",
    heads: Sequence[str] | None = None,
    input_format: FileFormat | None = None,
    chunk_rows: int = 65_536,
) -> BackfillJob:
    """Check everything and say what to do; nothing is written.

    Args:
        model: REF of the model.
        pattern: file, folder or glob of the inputs.
        output: folder or URI.
        text: the text template.
        keep: columns to keep, or None for all.
        vectors: layout of the vectors.
        dtype: type of their elements.
        heads: the heads whose scores are added, or None for all.
        input_format: format of the inputs, or None to go by their extensions.
        chunk_rows: records of an output file.

    Raises:
        TemplateError: the template cannot be read, or names a field that no record has.
        InputError: there are no inputs, or they do not fit together.
        OutputConflict: the output lies among the inputs, or the other way round.
        ConfigurationError: a REF, a URI or a kept column that does not exist.
    """
    template = TextTemplate.parse(text)
    kept = None if keep is None else tuple(dict.fromkeys(keep))
    target = store_uri(output)
    files = find_inputs(pattern, input_format)
    check_apart(pattern, files, target)
    records = infer_schema(files, template.fields, kept)
    version = ModelVersion.resolve(model)
    enrichment = Enrichment(template, kept, VectorFormat(vectors, dtype), chosen_heads(heads))
    enrichment.schema(records, version.load())  # refuses columns that cannot be kept
    return BackfillJob(version, tuple(files), records, enrichment, target, chunk_rows)


def check_apart(pattern: str, files: Sequence[InputFile], output: str) -> None:
    """Refuse an output that a second run would take for input, and inputs that readers would meet in it."""
    target, asked = _place(output), _place(pattern)
    for file in files:
        if _place(file.path).startswith(f"{target}/"):
            raise OutputConflict(f"the input {file.path} lies in the output {output}: name another folder")
    part = f"{target}/part.parquet"
    if part.startswith(f"{asked}/") or ("**" in asked and fnmatchcase(part, asked)):
        raise OutputConflict(
            f"the output {output} lies in the input {pattern}, which a second run would read: "
            "name another folder"
        )


def _place(location: str) -> str:
    """A path or URI as one text that can be compared."""
    found = locate_uri(split_query(location)[0])
    path = found.path if found.cloud == "file" else unquote(found.path)
    return posixpath.normpath(f"{found.cloud}:/{found.account}/{found.bucket}/{path}")
