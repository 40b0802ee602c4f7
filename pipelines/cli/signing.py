"""Signatures on the command line: the keys that sign what a command publishes."""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from encoder.errors import ConfigurationError
from pipelines.cli.options import signature_option
from pipelines.records.durations import seconds

if TYPE_CHECKING:
    from encoder.store.signing import Signer

__all__ = ["Signing", "SigningOptions"]


_KEY = "MILLSTREAM_SIGNING_KEY"


@dataclass(frozen=True)
class Signing:
    """How a command signs what it publishes."""

    signers: "tuple[Signer, ...]" = ()
    expires: timedelta | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The parameters of `ModelStore.publish`, `extend` and `rollback`."""
        return {"signer": self.signers, "expires": self.expires}


@dataclass(frozen=True, kw_only=True)
class SigningOptions:
    """The keys that sign what a command publishes."""

    sign: Annotated[
        list[str] | None,
        signature_option(
            "--sign",
            metavar="KEY",
            help="Private key that signs what is published: NAME.key, @FILE or a pkcs11: URI. Repeatable.",
            show_default=_KEY,
            allow_from_autoenv=False,  # of one name, whichever command signs
        ),
    ] = None
    expires: Annotated[
        str | None,
        signature_option(
            "--expires",
            metavar="DURATION",
            help="Time after which readers report that no newer version came, such as 90d.",
            show_default="never",
        ),
    ] = None

    def check_unused(self) -> None:
        """Refuse options about a signature where no version is published.

        Raises:
            ConfigurationError: there are some.
        """
        if self.sign or self.expires is not None:
            raise ConfigurationError(
                "--sign and --expires are of versions in a store, and this writes a folder: publish it, or "
                "sign it when you run `millstream models publish`"
            )

    def open(self) -> Signing:
        """Open the keys, before there is work to lose; without one, that of `MILLSTREAM_SIGNING_KEY`.

        Raises:
            ConfigurationError: a key cannot be used, or `expires` is not a duration.
            MissingExtra: a package for it is not installed.
        """
        keys = self.sign or [os.environ.get(_KEY, "")]
        return Signing(_open(keys), None if self.expires is None else _duration(self.expires))


def _open(keys: list[str]) -> "tuple[Signer, ...]":
    if not any(keys):
        return ()
    from encoder.store.signing.keys import open_signer

    return tuple(open_signer(key) for key in keys)


def _duration(text: str) -> timedelta:
    duration = timedelta(seconds=seconds(text, "--expires"))
    if not duration:
        raise ConfigurationError(f"--expires {text!r} is not longer than 0: write 90d, or leave it out")
    return duration
