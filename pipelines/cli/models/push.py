"""`millstream models push`: a version goes to the Hugging Face Hub, where anybody's model2vec loads it."""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from encoder.errors import ConfigurationError, ModelFormatError, StoreUnavailable
from encoder.reference import parse
from pipelines.cli.console import print_table, size_text
from pipelines.cli.options import OPERATIONS, OUTPUT, RefArgument
from pipelines.cli.quality_gate import REPORT_FILE

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

__all__ = ["push"]

_OF_A_MODEL = (
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
"""What a model folder may hold: a push removes those of an earlier one, which do not fit the new table."""

_REPO_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def push(
    ref: RefArgument,
    repo_id: Annotated[
        str, typer.Argument(metavar="REPO_ID", help="Repository on the Hub, such as org/minilm-fraud.")
    ],
    public: Annotated[
        bool,
        typer.Option(
            "--public", help="Make a new repository public instead of private.", rich_help_panel=OUTPUT
        ),
    ] = False,
    with_report: Annotated[
        bool,
        typer.Option(
            "--with-report",
            help="Also push report.html, which may contain your records.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    message: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Commit message.",
            show_default="name and version of the model",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show what would be pushed, and push nothing.", rich_help_panel=OPERATIONS
        ),
    ] = False,
) -> None:
    """Push a version to the Hugging Face Hub, as one commit.

    The token is the Hub's own: HF_TOKEN, or what `hf auth login` left. A repository that is there already
    keeps its visibility and its other files; heads and a report that an earlier push left are removed.
    """
    if not _REPO_ID.fullmatch(repo_id):
        raise ConfigurationError(f"{repo_id!r} is no repository: write OWNER/NAME, as in org/minilm-fraud")
    folder, name = _folder(ref)
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and _is_pushed(path, folder, with_report)
    )
    if not (folder / "README.md").is_file():
        raise ModelFormatError(
            f"{ref} has no README.md, the Hub's model card: distil it with this Millstream"
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


def _folder(ref: str) -> tuple[Path, str]:
    """The folder of a REF, whose bytes are checked, and what it is called."""
    from encoder.model import load_model

    reference = parse(ref)
    if reference.kind == "folder":
        folder = Path(reference.location)
        load_model(folder)
        return folder, folder.absolute().name
    from encoder.store.cache import cached_model

    folder, manifest = cached_model(reference)
    return folder, f"{manifest.name} version {manifest.version} ({manifest.digest})"


def _is_pushed(path: Path, folder: Path, with_report: bool) -> bool:
    inside = path.relative_to(folder)
    hidden = any(part.startswith(".") for part in inside.parts)
    return not hidden and (with_report or inside.as_posix() != REPORT_FILE)


def _push(folder: Path, files: list[str], repo_id: str, public: bool, message: str) -> str:
    """Create the repository if need be and commit the files; the commit's address."""
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi(library_name="millstream")
    try:
        api.create_repo(repo_id, private=not public, exist_ok=True)
        operations = _operations(api, folder, files, repo_id)
        commit = api.create_commit(repo_id, operations, commit_message=message)
    except LocalTokenNotFoundError as error:
        raise ConfigurationError("the Hub wants a token: set HF_TOKEN, or run `hf auth login`") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        reason = str(error).splitlines()[0]
        if status in (401, 403):
            raise ConfigurationError(
                f"the Hub refuses {repo_id}: {reason}; check HF_TOKEN and its rights"
            ) from error
        raise StoreUnavailable(f"the Hub did not take {repo_id}: {reason}") from error
    except httpx.HTTPError as error:
        raise StoreUnavailable(f"the Hub does not answer: {error}; nothing was pushed, try again") from error
    return str(commit.commit_url)


def _operations(
    api: "HfApi", folder: Path, files: list[str], repo_id: str
) -> "list[CommitOperationAdd | CommitOperationDelete]":
    """The files to add, and those of an earlier push that are not among them."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    gone = [
        there
        for there in sorted(set(api.list_repo_files(repo_id)) - set(files))
        if any(fnmatchcase(there, pattern) for pattern in _OF_A_MODEL)
    ]
    return [
        *(CommitOperationDelete(there) for there in gone),
        *(CommitOperationAdd(name, folder / name) for name in files),
    ]
