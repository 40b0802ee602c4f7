"""Whom a command trusts: `--trust` and `--trust-policy`, which hold for everything that it reads."""

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from encoder.errors import ConfigurationError
from encoder.store.signing.trust import KEYS_VARIABLE, POLICY_VARIABLE, Policy, Trust
from pipelines.cli.options import signature_option

__all__ = ["verifying"]

_Trust = Annotated[
    list[Path] | None,
    signature_option(
        "--trust",
        envvar=KEYS_VARIABLE,
        metavar="FILE",
        help="Public key that may sign versions, NAME.pub: others are no versions. Repeatable.",
        show_default="versions need no signature",
    ),
]
_TrustPolicy = Annotated[
    Policy | None,
    signature_option(
        "--trust-policy",
        envvar=POLICY_VARIABLE,
        metavar="POLICY",
        help="What becomes of other versions: require refuses them, warn uses them and says so.",
        show_default="require",
    ),
]


def verifying(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say whom it trusts.

    They become `MILLSTREAM_TRUST` and `MILLSTREAM_TRUST_POLICY` while the command runs, which every reading
    of a store follows, in this process and in those that it starts. So no reading can forget them.
    """

    @functools.wraps(command)
    def run(*arguments: Any, trust: list[Path] | None, trust_policy: Policy | None, **options: Any) -> Any:
        with _trusting(trust or [], trust_policy):
            return command(*arguments, **options)

    own = inspect.signature(command, eval_str=True).parameters.values()
    new = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in (("trust", _Trust), ("trust_policy", _TrustPolicy))
    ]
    both = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *new)]
    vars(run)["__signature__"] = inspect.Signature(both)
    run.__annotations__ = {one.name: one.annotation for one in both}
    return run


@contextmanager
def _trusting(keys: list[Path], policy: Policy | None) -> Iterator[None]:
    """Set the variables that readings of a store follow.

    Raises:
        ConfigurationError: a key cannot be read.
    """
    paths = [str(key.absolute()) for key in keys if key != Path()]  # the end of a list in the environment
    apart = next((path for path in paths if os.pathsep in path), None)
    if apart is not None:
        raise ConfigurationError(f"the path {apart} holds {os.pathsep!r}: move the key elsewhere")
    Trust.of(paths, policy)
    new = {KEYS_VARIABLE: os.pathsep.join(paths), POLICY_VARIABLE: policy or ""}
    before = {name: os.environ.get(name) for name in new}
    os.environ.update(new)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
