"""Whom a command trusts: `--trust` and `--trust-policy`, which hold for everything that it reads."""

import os
from pathlib import Path
from typing import Annotated

from encoder.errors import ConfigurationError
from encoder.store.signing.trust import KEYS_VARIABLE, POLICY_VARIABLE, Policy, Trust
from pipelines.cli.options import signature_option
from pipelines.cli.variables import with_variables

__all__ = ["verifying"]

_Trust = Annotated[
    list[Path] | None,
    signature_option(
        "--trust",
        envvar=KEYS_VARIABLE,
        metavar="FILE",
        help="Public key, NAME.pub. Only versions that one of these keys signed are used. Repeatable.",
        show_default="versions need no signature",
    ),
]
_TrustPolicy = Annotated[
    Policy | None,
    signature_option(
        "--trust-policy",
        envvar=POLICY_VARIABLE,
        metavar="POLICY",
        help="For versions that no trusted key signed: require refuses them, warn uses them with a warning.",
        show_default="require",
    ),
]


def _variables(trust: list[Path] | None, trust_policy: Policy | None) -> dict[str, str]:
    """The variables that readings of a store follow.

    Raises:
        ConfigurationError: a key cannot be read.
    """
    keys = [key for key in trust or [] if key != Path()]  # the end of a list in the environment
    paths = [str(key.absolute()) for key in keys]
    apart = next((path for path in paths if os.pathsep in path), None)
    if apart is not None:
        raise ConfigurationError(f"the path {apart} holds {os.pathsep!r}: move the key elsewhere")
    Trust.of(paths, trust_policy)
    return {KEYS_VARIABLE: os.pathsep.join(paths), POLICY_VARIABLE: trust_policy or ""}


verifying = with_variables({"trust": _Trust, "trust_policy": _TrustPolicy}, _variables)
"""Give a command the options that say whom it trusts, in every reading of a store."""
