"""`millstream models`: look at, publish, fetch, check and clean up the versions in a store."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from encoder.errors import ConfigurationError, CorruptVersion, InvalidReference, OutputConflict
from encoder.reference import Reference, parse, store_uri
from pipelines.cli.command import Command, Group, with_old_flags
from pipelines.cli.console import print_table, size_text, span_text, time_text, value_text
from pipelines.cli.models import push as model_push
from pipelines.cli.models import report as model_report
from pipelines.cli.models import serve as model_serve
from pipelines.cli.option_groups import expand_options
from pipelines.cli.options import Mask, input_option, operations_option, output_option
from pipelines.cli.signing import SigningOptions
from pipelines.cli.trust import verifying

if TYPE_CHECKING:
    from encoder.store.manifest import Manifest
    from encoder.store.prune import Pruned
    from encoder.store.store import ModelStore

__all__ = ["app"]

app = typer.Typer(
    cls=Group,
    help="List, publish, sign, pull, verify, roll back and prune versions in a store.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Ref = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="Version in a store, such as s3://bucket/models/minilm@7, @latest or @sha256:DIGEST.",
    ),
]
_STORE: Any = {
    "envvar": "MILLSTREAM_STORE",
    "metavar": "URI",
    "help": "Store, the folder that holds the models: s3://bucket/models, gs://, az:// or ./store.",
}
AsJson = Annotated[bool, operations_option("--json", help="Print JSON instead of a table.")]


@app.command("list", cls=Command)
@verifying
def list_(store: Annotated[str, input_option("--store", **_STORE)], as_json: AsJson = False) -> None:
    """List the models of a store and their latest versions."""
    from encoder.store.store import list_models

    with _quiet("encoder.store.versions"):  # the lines below say it
        rows = [_row(name, model) for name, model in list_models(store).items()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif rows:
        print_table(["model", "latest", "published", "size", "digest"], [_cells(row) for row in rows])
        for row in rows:
            for number, reason in row.get("refused", {}).items():
                typer.echo(f"{row['name']}: {number} is not a version: {reason}", err=True)
    else:
        typer.echo(
            f"{store_uri(store)} has no models: publish one with `millstream models publish`", err=True
        )


@app.command(cls=Command)
@verifying
def show(ref: Ref, as_json: AsJson = False) -> None:
    """Show the files, origin and quality of a version, and which versions exist."""
    store, reference = _open(ref)
    manifest = store.manifest(reference.selector)
    if as_json:
        from msgspec import to_builtins

        typer.echo(json.dumps(to_builtins(manifest), indent=2))
        return
    facts: dict[str, Any] = {
        "model": manifest.name,
        "version": manifest.version,
        "versions": span_text(store.versions()),
        "digest": manifest.digest,
        "published": time_text(manifest.created_at),
        "by": manifest.created_by,
        **_signatures(manifest),
        "teacher": manifest.teacher or "-",
        **({"masks": ", ".join(manifest.masks)} if manifest.masks else {}),
        **({"rolls back to": manifest.rolls_back_to} if manifest.rolls_back_to else {}),
        **{f"parameter {key}": value for key, value in manifest.parameters.items()},
        **_quality(manifest.quality),
    }
    print_table(None, [[key, value_text(value)] for key, value in facts.items()])
    print_table(
        ["file", "size", "sha256"],
        [[file.path, size_text(file.size), file.sha256] for file in manifest.files],
    )


@app.command(cls=Command)
@verifying
@expand_options
def publish(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Model folder, as millstream distill writes it.")
    ],
    store: Annotated[str, output_option("--store", **_STORE)],
    signing: SigningOptions,
    name: Annotated[
        str,
        output_option("--name", metavar="NAME", help="Name of the model in the store, such as minilm-fraud."),
    ],
    teacher: Annotated[
        str | None, output_option("--teacher", metavar="NAME", help="Model that this one was distilled from.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        output_option(
            "--parameter", metavar="KEY=VALUE", help="How the model was made, such as dims=256. Repeatable."
        ),
    ] = None,
    mask: Mask = None,
) -> None:
    """Publish a model folder as the next version; readers see all of it or nothing."""
    from encoder.masks import Masks
    from encoder.store.manifest import check_name
    from encoder.store.store import ModelStore

    parameters, opened = _parameters(parameter or []), signing.open()
    target = ModelStore.open(f"{store_uri(store)}/{check_name(name)}")
    masks = None if mask is None else Masks.parse(mask)
    manifest = target.publish(
        folder, name=name, teacher=teacher, parameters=parameters, masks=masks, **opened.options
    )
    typer.echo(f"{target.uri}@{manifest.version}")


@app.command(cls=Command)
@verifying
def pull(
    ref: Ref,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder to write the model to.")],
) -> None:
    """Download a version into a new model folder and verify every byte.

    The signature of a signed version is written to model.sig, which the tool model_signing reads. Of several
    signatures, it is the one of a key in --trust.
    """
    from encoder.atomic_files import new_file
    from encoder.store.signing.bundle import SIGNATURE_FILE

    if folder.exists():
        raise OutputConflict(f"{folder} already exists: name a new folder")
    store, reference = _open(ref)
    manifest = store.manifest(reference.selector)
    store.fetch(manifest, folder)
    if manifest.signatures:
        with new_file(folder / SIGNATURE_FILE) as file:
            file.write(json.dumps(_chosen_signature(manifest)).encode())
    typer.echo(f"{folder}: {manifest.name} version {manifest.version}, {size_text(manifest.size)}")


@app.command(cls=Command)
@verifying
@expand_options
def rollback(
    ref: Annotated[
        str,
        typer.Argument(metavar="REF", help="Model in a store, without a version: s3://bucket/models/minilm."),
    ],
    to: Annotated[int, operations_option("--to", min=1, metavar="N", help="Version to go back to.")],
    signing: SigningOptions,
) -> None:
    """Publish an old version again, under the next number; nothing is deleted."""
    store, reference = _open(ref)
    if reference.selector != "latest":
        raise InvalidReference(
            f"give the model without a version, such as {reference.location}: --to selects the version"
        )
    manifest = store.rollback(to, **signing.open().options)
    typer.echo(f"{store.uri}@{manifest.version}")


@app.command(cls=Command)
@verifying
@expand_options
def sign(ref: Ref, signing: SigningOptions) -> None:
    """Publish a version again with a signature, as the next version.

    A version never changes, and its signature binds its number. Name the digest of the version that you
    looked at: somebody else may have published a newer one. Give two keys while readers change from one to
    the other.
    """
    opened = signing.open()
    if not opened.signers:
        raise ConfigurationError("which key should sign? Give --sign NAME.key, or MILLSTREAM_SIGNING_KEY")
    from encoder.store.store import ModelStore

    store, reference = _open(ref)
    base = ModelStore.open(store.uri, trust=()).manifest(reference.selector)  # nobody signed it yet
    manifest = store.extend(base, {}, **opened.options)
    typer.echo(f"{store.uri}@{manifest.version} ({manifest.digest}): version {base.version}, signed")


@app.command(cls=Command)
@verifying
def verify(
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="REF",
            help="Version in a store, such as s3://bucket/models/minilm@7, @latest or @sha256:DIGEST.",
        ),
    ] = None,
    cache: Annotated[
        bool, operations_option("--cache", help="Check this machine's cache instead of a REF.")
    ] = False,
) -> None:
    """Check the size and SHA-256 of every file of a version; exit with 1 if one is wrong.

    --cache checks every version in this machine's cache instead, and that nobody else can change it.
    """
    if cache == (ref is not None):
        raise ConfigurationError("name a REF to check a version in a store, or --cache to check the cache")
    if ref is None:
        _verify_cache()
        return
    store, reference = _open(ref)
    manifest = store.manifest(reference.selector)
    problems = store.verify(manifest)
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise CorruptVersion(
            f"version {manifest.version} of {store.uri} is damaged: roll back, or publish it again"
        )
    typer.echo(
        f"{store.uri}@{manifest.version}: {len(manifest.files)} files, {size_text(manifest.size)}, verified"
    )


@app.command(cls=Command)
@verifying
def prune(
    ref: Annotated[
        str,
        typer.Argument(metavar="REF", help="Model in a store, without a version: s3://bucket/models/minilm."),
    ],
    keep: Annotated[
        int | None,
        operations_option(
            "--keep",
            min=1,
            metavar="N",
            help="Number of versions to keep, the newest ones.",
            show_default="all",
        ),
    ] = None,
    grace: Annotated[
        float,
        operations_option(
            "--grace", min=0, metavar="DAYS", help="Days a file must be unused before it is deleted."
        ),
    ] = 7.0,
    dry_run: Annotated[
        bool, operations_option("--dry-run", help="Show what would be deleted, and delete nothing.")
    ] = False,
    yes: Annotated[bool, operations_option("--yes", "-y", help="Delete without asking.")] = False,
) -> None:
    """Delete old versions, and files that no version uses.

    Unused files are marked first. A run at least --grace days later deletes them, so run this regularly.
    """
    store, reference = _open(ref)
    if reference.selector != "latest":
        raise InvalidReference(
            f"give the model without a version, such as {reference.location}: --keep selects versions"
        )
    days = timedelta(days=grace)
    todo = store.prune(keep=keep, grace=days, dry_run=True)
    if not dry_run:
        if (todo.versions or todo.deleted) and not yes:
            typer.confirm(f"Delete {_summary(todo)} of {store.uri}?", abort=True)
        todo = store.prune(keep=keep, grace=days)
    verb = "would delete" if dry_run else "deleted"
    typer.echo(f"{verb} {_summary(todo)}; newly marked as unused: {len(todo.marked)} files")


app.command("report", cls=with_old_flags({"--format": "--input-format"}))(verifying(model_report.report))
app.command("serve", cls=Command)(verifying(model_serve.serve))
app.command("push", cls=Command)(verifying(model_push.push))


def _chosen_signature(manifest: "Manifest") -> dict[str, Any]:
    """The signature of a trusted key, or the first one."""
    from encoder.store.signing.bundle import named_key
    from encoder.store.signing.trust import Trust

    trust = Trust.of()
    if trust is not None:
        from encoder.store.signing.public_keys import key_id

        trusted = {key_id(key) for key in trust.keys}
        return next(
            (bundle for bundle in manifest.signatures if named_key(bundle) in trusted), manifest.signatures[0]
        )
    return manifest.signatures[0]


def _signatures(manifest: "Manifest") -> dict[str, str]:
    """Rows about who signed a version and how long it is good for."""
    from encoder.store.signing.bundle import named_key

    keys = [(named_key(bundle) or "a key without an id")[:12] for bundle in manifest.signatures]
    rows = {"signed by": ", ".join(keys) or "unsigned"}
    if manifest.expires_at is not None:
        over = " (expired)" if manifest.expires_at < datetime.now(UTC) else ""
        rows["expires"] = f"{time_text(manifest.expires_at)}{over}"
    return rows


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Leave out the warnings of a logger."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _verify_cache() -> None:
    from encoder.store.cache.check import check_cache
    from encoder.user_cache import cache_folder

    root = cache_folder()
    found = check_cache(root)
    for problem in found.problems:
        typer.echo(problem, err=True)
    if found.problems:
        raise CorruptVersion(f"the cache {root} is damaged or exposed: see the lines above")
    versions = "1 version" if found.versions == 1 else f"{found.versions} versions"
    typer.echo(f"{root}: {versions}, {size_text(found.size)}, verified")


def _quality(quality: dict[str, Any]) -> dict[str, Any]:
    """Rows about quality: one a figure where there are figures, anything else as it is."""
    rows = {f"quality {key}": value for key, value in quality.items() if key not in ("figures", "beside")}
    for each in quality.get("figures", ()):
        rows[f"quality {each['metric']} {each['dataset']}"] = (
            "-" if each["value"] is None else "{value:.4g} [{low:.4g}, {high:.4g}], n = {n:,}".format(**each)
        )
    return rows


def _open(ref: str) -> "tuple[ModelStore, Reference]":
    """Open the store of a REF; nothing is read yet."""
    from encoder.store.store import ModelStore

    reference = parse(ref)
    if reference.kind != "store":
        raise InvalidReference(f"{ref} is not a model in a store: {_inside(ref)}")
    return ModelStore.open(reference.location), reference


def _inside(folder: str) -> str:
    """What to name instead of a folder that is no model of a store."""
    names = sorted(each.parent.name for each in Path(folder).glob("*/v"))
    if names:
        return f"it is a store, so name one of its models, such as {folder.rstrip('/')}/{names[0]}"
    return "give its URI, or a local folder that holds v/ and blobs/"


def _row(name: str, store: "ModelStore") -> dict[str, Any]:
    """One line of `list`; a damaged manifest is said, and does not hide the other models."""
    row = {"name": name, "uri": store.uri}
    try:
        manifest = store.manifest()
    except CorruptVersion as error:
        return {**row, "problem": str(error)}
    facts = {"version": manifest.version, "created_at": time_text(manifest.created_at)}
    refused = store.refused()
    return {
        **row,
        **facts,
        "size": manifest.size,
        "digest": manifest.digest,
        **({"refused": refused} if refused else {}),
    }


def _cells(row: dict[str, Any]) -> list[str]:
    if "problem" in row:
        return [row["name"], "?", row["problem"], "", ""]
    return [row["name"], str(row["version"]), row["created_at"], size_text(row["size"]), row["digest"][:19]]


def _parameters(pairs: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE pairs; a value that is JSON is kept as it is, any other one is a text."""
    parameters: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise ConfigurationError(
                f"cannot read --parameter {pair!r}: write KEY=VALUE, such as --parameter dim=256"
            )
        try:
            parameters[key] = json.loads(value)
        except ValueError:
            parameters[key] = value
    return parameters


def _summary(todo: "Pruned") -> str:
    """What a prune deletes, in words."""
    versions = f"versions {span_text(todo.versions)}" if todo.versions else "no version"
    return f"{versions} and {len(todo.deleted)} files ({size_text(todo.freed)})"
