"""`millstream keys`: make keys that sign model versions."""

from typing import Annotated

import typer

from pipelines.cli.command import Command, Group

__all__ = ["app"]

app = typer.Typer(
    cls=Group,
    help="Make keys that sign versions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _group() -> None:
    """Make keys that sign versions."""


@app.command(cls=Command)
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the two files, without an extension.")],
) -> None:
    """Make a key pair: NAME.key signs, and NAME.pub is for those who verify.

    Set MILLSTREAM_KEY_PASSWORD to a password, or to @FILE, to encrypt NAME.key.
    """
    from encoder.store.signing.keys import new_key
    from encoder.store.signing.public_keys import key_id, read_public_key

    private, public = new_key(name)
    typer.echo(f"{private}: signs, keep it secret (--sign {private})")
    typer.echo(f"{public}: verifies, give it to readers (--trust {public})")
    typer.echo(f"key {key_id(read_public_key(public))[:12]}")
