"""Files on this machine and in object stores, by bare path or URI, through pyarrow's filesystems."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, unquote

import pyarrow as pa
from pyarrow import fs

from encoder.errors import ConfigurationError, InputError, InvalidReference, StoreUnavailable
from pipelines.records.bad_rows import one_line

__all__ = ["SCHEMES", "is_remote", "last_part", "locate", "open_file", "reading", "split_query"]

SCHEMES = ("file", "s3", "gs", "gcs", "abfs", "abfss")
REMOTE_BUFFER = 8 << 20  # bytes a request asks for: object stores answer few large reads best

_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]*)://")
_QUERY = re.compile(r"\?(?=\w+=)")  # s3://bucket/x?region=eu-west-1; any other question mark is a wildcard
_SAFE_IN_URI = "%:/@!$&'()*+,;=~"
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS",
    "abfs": "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
    "abfss": "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
}
_DAMAGED = re.compile(r"compressed stream|inflate|decompress", re.IGNORECASE)


def is_remote(path: str) -> bool:
    """Whether `path` is a URI of an object store."""
    scheme = _SCHEME.match(path)
    return scheme is not None and scheme[1] != "file"


def split_query(uri: str) -> tuple[str, str]:
    """A URI without its query, and the query with its question mark (or nothing)."""
    match = _QUERY.search(uri) if _SCHEME.match(uri) else None
    return (uri[: match.start()], uri[match.start() :]) if match else (uri, "")


def last_part(path: str) -> str:
    """The name of a file, folder or glob without its place and its query: what others may read of it."""
    return split_query(path)[0].rstrip("/").rpartition("/")[2]


def locate(path: str) -> tuple[fs.FileSystem, str]:
    """The filesystem of a bare path or URI, and the path inside it.

    URIs may hold spaces and other characters as they are or percent-encoded.

    Raises:
        InvalidReference: the URI holds credentials.
        ConfigurationError: the URI's scheme is unknown, or the URI cannot be understood.
    """
    scheme = _SCHEME.match(path)
    if scheme is None:
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - text in and out
    if scheme[1] == "file":
        return fs.LocalFileSystem(), unquote(path[len("file://") :])
    if scheme[1] not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ConfigurationError(f"unknown scheme in {path!r}: use one of {known} or a local path")
    body, query = split_query(path)
    _refuse_credentials(scheme[1], body)
    try:
        filesystem, inside = fs.FileSystem.from_uri(quote(body, safe=_SAFE_IN_URI) + query)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise ConfigurationError(f"cannot use {path!r}: {one_line(error)}") from error
    return filesystem, inside


def _refuse_credentials(scheme: str, body: str) -> None:
    """Refuse a URI with a user or a password: what is read is named in logs, outputs and published models."""
    if scheme not in _CREDENTIALS:
        return
    authority = body.partition("://")[2].partition("/")[0]
    user = authority.rpartition("@")[0]
    plain = scheme.startswith("abfs") or user == ("anonymous" if scheme in ("gs", "gcs") else "")
    if ":" in authority or not plain:  # abfs://CONTAINER@ACCOUNT and gs://anonymous@BUCKET hold no secret
        raise InvalidReference(f"a {scheme}:// URI holds no credentials: set {_CREDENTIALS[scheme]} instead")


def open_file(path: str) -> pa.NativeFile:
    """Open a file for reading at any position; `path` as in `locate`.

    Raises:
        InputError: there is no such file, or it may not be read.
        StoreUnavailable: the object store does not answer.
    """
    filesystem, inside = locate(path)
    with reading(path):
        return filesystem.open_input_file(inside)


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what pyarrow raises while `path` is read into errors that name it."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}: check its name") from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise InputError(f"cannot read {path}: {one_line(error)}") from error
    except OSError as error:
        if _DAMAGED.search(str(error)):
            what = f"{path} is damaged or cut short ({one_line(error)}): copy or write it again"
            raise InputError(what) from error
        if is_remote(path) and not isinstance(error, PermissionError):
            raise StoreUnavailable(f"cannot read {path}: {one_line(error)}") from error
        raise InputError(f"cannot read {path}: {one_line(error)}") from error
