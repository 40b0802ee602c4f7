"""URIs: one set of schemes for models, inputs and outputs.

models/minilm, file:///srv/models         this machine
s3://bucket/folder                        S3 and what speaks its protocol
gs://bucket/folder                        Google Cloud Storage, also gcs://; gs://anonymous@bucket if public
az://container/folder                     Azure, also abfs:// and abfss://, in the account of
AZURE_STORAGE_ACCOUNT_NAME
az://container@account.dfs.core.windows.net/folder
memory://name/folder                      the memory of this process: models and outputs, not inputs

Characters of a URI may be percent-encoded: `s3://bucket/a%20b` is `a b`. A local path is taken as it is.
"""

import os
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from encoder.errors import InvalidReference

__all__ = ["SCHEMES", "Cloud", "Location", "credentials_of", "locate_uri", "scheme_of", "split_query"]

Cloud = Literal["file", "s3", "gs", "az", "memory"]

SCHEMES: dict[str, Cloud] = {
    "s3": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "abfs": "az",
    "abfss": "az",
    "file": "file",
    "memory": "memory",
}
_CREDENTIALS: dict[Cloud, str] = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")
_QUERY = re.compile(r"\?(?=\w+=)")  # s3://bucket/x?region=eu-west-1; any other question mark is a wildcard
_AZURE_HOST = re.compile(r"([a-z0-9]+)\.(?:dfs|blob)\.core\.windows\.net")


@dataclass(frozen=True)
class Location:
    """Where a URI points.

    Attributes:
        cloud: the storage, the same for all its schemes.
        bucket: the bucket or container; empty for files.
        path: the path in the bucket without percent-encoding, or the absolute path of a file.
        account: the Azure storage account, from the URI or else the environment; None if neither has one.
        anonymous: whether requests go unsigned.
    """

    cloud: Cloud
    bucket: str
    path: str
    account: str | None = None
    anonymous: bool = False


def scheme_of(text: str) -> str | None:
    """The scheme of a URI; None for a local path.

    Raises:
        InvalidReference: the scheme is unknown.
    """
    match = _SCHEME.match(text)
    if match and match[1] not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise InvalidReference(f"unknown scheme in {text!r}: use one of {known} or a local path")
    return match[1] if match else None


def credentials_of(uri: str) -> str:
    """The names of the environment variables with the credentials for a URI; empty if it needs none."""
    return _CREDENTIALS.get(SCHEMES[scheme_of(uri) or "file"], "")


def split_query(uri: str) -> tuple[str, str]:
    """A URI without its query, and the query with its question mark (or nothing)."""
    match = _QUERY.search(uri) if _SCHEME.match(uri) else None
    return (uri[: match.start()], uri[match.start() :]) if match else (uri, "")


def locate_uri(uri: str) -> Location:
    """Parse a URI without a query, or a local path.

    Raises:
        InvalidReference: the scheme is unknown, or the URI names no bucket or holds credentials, which would
            end up in logs, outputs and published models.
    """
    scheme = scheme_of(uri)
    if scheme is None:
        return Location("file", "", os.path.abspath(os.path.expanduser(uri)))  # noqa: PTH100, PTH111 - text in and out
    cloud, rest = SCHEMES[scheme], uri[len(scheme) + 3 :]
    if cloud == "file":
        if not rest.startswith("/"):
            raise InvalidReference(f"{uri} names a host: write file:///path with three slashes")
        return Location(cloud, "", unquote(rest))
    authority, _, path = rest.partition("/")
    user, _, bucket = authority.rpartition("@")
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME") if cloud == "az" else None
    anonymous = cloud == "gs" and user == "anonymous"
    if cloud == "az" and (host := _AZURE_HOST.fullmatch(bucket)):
        user, bucket, account = "", user, host[1]
    if ":" in authority or (user and not anonymous):
        variables = _CREDENTIALS.get(cloud, "none")
        raise InvalidReference(f"a {scheme}:// URI holds no credentials: set {variables} instead")
    if not bucket:
        raise InvalidReference(f"{uri} names no bucket: write {scheme}://bucket/folder")
    return Location(cloud, bucket, unquote(path), account, anonymous)
