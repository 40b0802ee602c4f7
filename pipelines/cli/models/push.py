"""`millstream models push`: copies a version to the Hugging Face Hub, where model2vec loads it."""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from encoder.errors import ConfigurationError, ModelFormatError, StoreUnavailable
from pipelines.cli.console import print_table, size_text
from pipelines.cli.evaluation.quality_gate import REPORT_FILE
from pipelines.cli.models.folder import named_folder
from pipelines.cli.options import RefArgument, operations_option, output_option

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

__all__ = ["push"]

_MODEL_FILES = (
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_tables.safetensors",
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "0_StaticEmbedding/*",
    "heads/*.safetensors",
    REPORT_FILE,
)
"""Files that a model folder may hold. A push removes those that only an earlier push had."""

_REPO_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def push(
    ref: RefArgument,
    repo_id: Annotated[
        str, typer.Argument(metavar="REPO_ID", help="Repository on the Hub, such as org/minilm-fraud.")
    ],
    public: Annotated[
        bool, output_option("--public", help="Make a new repository public instead of private.")
    ] = False,
    with_report: Annotated[
        bool, output_option("--with-report", help="Also push report.html, which may contain your records.")
    ] = False,
    message: Annotated[
        str | None,
        output_option(metavar="TEXT", help="Commit message.", show_default="name and version of the model"),
    ] = None,
    dry_run: Annotated[
        bool, operations_option("--dry-run", help="Show what would be pushed, and push nothing.")
    ] = False,
) -> None:
    """Push a version to the Hugging Face Hub as one commit.

    The token comes from HF_TOKEN or `hf auth login`. An existing repository keeps its visibility and its
    other files; heads and a report of an earlier push are removed.
    """
    if not _REPO_ID.fullmatch(repo_id):
        raise ConfigurationError(
            f"{repo_id!r} is not a repository: write OWNER/NAME, such as org/minilm-fraud"
        )
    folder, name = named_folder(ref)
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and _is_pushed(path, folder, with_report)
    )
    if not (folder / "README.md").is_file():
        raise ModelFormatError(
            f"{ref} has no README.md, the model card: distil it again with this version of Millstream"
        )
    if dry_run:
        print_table(
            ["file", "size"],
            [[path.relative_to(folder).as_posix(), size_text(path.stat().st_size)] for path in files],
        )
        typer.echo(f"would push {len(files)} files to {repo_id}")
        return
    names = [path.relative_to(folder).as_posix() for path in files]
    url = _push(folder, names, repo_id, public, message or name)
    typer.echo(url)


def _is_pushed(path: Path, folder: Path, with_report: bool) -> bool:
    inside = path.relative_to(folder)
    hidden = any(part.startswith(".") for part in inside.parts)
    return not hidden and (with_report or inside.as_posix() != REPORT_FILE)


def _push(folder: Path, files: list[str], repo_id: str, public: bool, message: str) -> str:
    """Create the repository if needed and commit the files; returns the URL of the commit."""
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi(library_name="millstream")
    try:
        api.create_repo(repo_id, private=not public, exist_ok=True)
        operations = _operations(api, folder, files, repo_id)
        commit = api.create_commit(repo_id, operations, commit_message=message)
    except LocalTokenNotFoundError as error:
        raise ConfigurationError("the Hub needs a token: set HF_TOKEN, or run `hf auth login`") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        reason = str(error).splitlines()[0]
        if status in (401, 403):
            raise ConfigurationError(
                f"the Hub refuses {repo_id}: {reason}; check HF_TOKEN and its rights"
            ) from error
        raise StoreUnavailable(f"the Hub rejected {repo_id}: {reason}") from error
    except httpx.HTTPError as error:
        raise StoreUnavailable(f"cannot reach the Hub: {error}. Nothing was pushed: try again") from error
    return str(commit.commit_url)


def _operations(
    api: "HfApi", folder: Path, files: list[str], repo_id: str
) -> "list[CommitOperationAdd | CommitOperationDelete]":
    """The files to add, and those of an earlier push to delete."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    stale = [
        old
        for old in sorted(set(api.list_repo_files(repo_id)) - set(files))
        if any(fnmatchcase(old, pattern) for pattern in _MODEL_FILES)
    ]
    return [
        *(CommitOperationDelete(old) for old in stale),
        *(CommitOperationAdd(name, folder / name) for name in files),
    ]
