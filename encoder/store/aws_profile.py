"""Credentials from AWS profiles and what they lead to (single sign-on, roles, processes), through boto3.

obstore reads variables and the metadata of cloud machines alone. pyarrow, which reads inputs, reads profiles
itself.
"""

import os
from pathlib import Path
from typing import Any

from encoder.errors import ConfigurationError, MissingExtra

__all__ = ["profile_credentials"]

_FILES = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}


def profile_credentials() -> Any:
    """The credential provider for obstore, or None where no profile is needed.

    Keys in the environment go first. Then comes the profile that `AWS_PROFILE` names, or the default one if
    there is a file with profiles.

    Raises:
        MissingExtra: `AWS_PROFILE` is set, and boto3 is not installed.
        ConfigurationError: the profile does not exist or gives no credentials.
    """
    named = os.environ.get("AWS_PROFILE")
    paths = [Path(os.environ.get(variable, path)).expanduser() for variable, path in _FILES.items()]
    if "AWS_ACCESS_KEY_ID" in os.environ or not (named or any(path.exists() for path in paths)):
        return None
    try:
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        if named:
            raise MissingExtra("boto3, which reads AWS_PROFILE,", "aws") from error
        return None
    try:
        return Boto3CredentialProvider()
    except (BotoCoreError, ValueError) as error:
        if named:
            raise ConfigurationError(
                f"the profile {named!r} of AWS_PROFILE gives no credentials ({error}): check "
                f"{' and '.join(map(str, paths))}"
            ) from error
        return None
