"""Secrets among librdkafka's properties: they are hidden, and never part of a pipeline."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from encoder.errors import ConfigurationError

__all__ = ["Secret", "file_secret", "given_secrets", "is_secret", "read_text", "variable_secret"]

_SECRET = ("password", "passphrase", "secret", "key.pem", "oauthbearer.config", "user.info", "auth.token")


def is_secret(key: str) -> bool:
    """Whether the value of a property is a secret."""
    return any(word in key for word in _SECRET)


def given_secrets(properties: Mapping[str, str]) -> list[str]:
    """The secrets that were given as values, and so become part of a pipeline."""
    return [key for key, value in properties.items() if is_secret(key) and not isinstance(value, Secret)]


class Secret(str):
    """The value of a property that pickles as the place that it was read from: Beam pickles properties.

    The process that unpickles it reads it there, so the value is in no pipeline, job server or checkpoint.
    """

    __slots__ = ("_place",)
    _place: tuple[Callable[[str, str], "Secret"], tuple[str, str]]

    def __new__(cls, value: str, read: Callable[[str, str], "Secret"], key: str, where: str) -> Self:
        """A value, and the function that reads it again.

        Args:
            value: the secret.
            read: a function of a module; cloudpickle would pickle a class method with all that it refers to.
            key: its first argument, the property.
            where: its second argument.
        """
        self = super().__new__(cls, value)
        self._place = read, (key, where)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return self._place

    def __repr__(self) -> str:
        return "(hidden)"


def file_secret(key: str, path: str) -> Secret:
    """Read a property from a file.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        value = read_text(Path(path)).strip()
    except ConfigurationError as error:
        raise ConfigurationError(f"the property {key}: {error}") from error
    return Secret(value, file_secret, key, str(Path(path).absolute()))


def variable_secret(key: str, name: str, environment: Mapping[str, str] | None = None) -> Secret:
    """Read a property from an environment variable.

    Raises:
        ConfigurationError: it is not set.
    """
    value = (os.environ if environment is None else environment).get(name)
    if value is None:
        raise ConfigurationError(
            f"the property {key}: the environment variable {name} is not set on this worker: set it there, "
            f"or name a file that workers have with {key}=@FILE"
        )
    return Secret(value, variable_secret, key, name)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error
