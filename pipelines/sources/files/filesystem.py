"""Files on this machine and in object stores, through pyarrow's filesystems."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, quote

import pyarrow as pa
from pyarrow import fs

from encoder.errors import ConfigurationError, InvalidReference, StoreUnavailable, UnreadableFile
from encoder.uris import Location, locate_uri, scheme_of, split_query
from pipelines.records.bad_rows import one_line

__all__ = ["is_remote", "last_part", "locate", "open_file", "reading", "tells_damage"]

REMOTE_BUFFER = 8 << 20  # bytes a request: object stores are fastest with few large reads

_SAFE_IN_URI = "%:/@!$&'()*+,;=~"
_AZURE_OPTIONS = (
    "blob_storage_authority",
    "blob_storage_scheme",
    "dfs_storage_authority",
    "dfs_storage_scheme",
)
_DAMAGED = re.compile(
    r"compress|inflate|corrupt|codec failed|end of stream|thrift|page (was|didn't|integrity)|flatbuffers",
    re.IGNORECASE,
)
_NO_FAULT_OF_A_FILE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN)


def is_remote(path: str) -> bool:
    """Whether `path` is a URI of an object store."""
    return scheme_of(path) not in (None, "file")


def last_part(path: str) -> str:
    """The name of a file, folder or glob without its location, which may be confidential."""
    return split_query(path)[0].rstrip("/").rpartition("/")[2]


def locate(path: str) -> tuple[fs.FileSystem, str]:
    """The filesystem of a local path or URI, and the path inside it.

    Characters of URIs may be percent-encoded or not.

    Raises:
        InvalidReference: the URI is invalid, holds credentials, or is of the scheme `memory`.
        ConfigurationError: the URI has unknown options, or the environment lacks what its cloud needs.
    """
    body, query = split_query(path)
    location = locate_uri(body)
    if location.cloud == "file":
        return fs.LocalFileSystem(), location.path
    if location.cloud == "memory":
        raise InvalidReference(
            f"{path}: memory:// is for models and outputs: read from a local path or an object store"
        )
    try:
        if location.cloud == "az":
            inside = f"{location.bucket}/{location.path}".rstrip("/")
            return _azure(location, dict(parse_qsl(query[1:]))), inside
        filesystem, inside = fs.FileSystem.from_uri(quote(body, safe=_SAFE_IN_URI) + query)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise ConfigurationError(f"cannot use {path!r}: {one_line(error)}") from error
    return filesystem, inside


def _azure(location: Location, options: dict[str, str]) -> fs.FileSystem:
    """Azure with the same key as obstore; without a key, with Azure's default credentials."""
    if location.account is None:
        raise ConfigurationError(
            f"cannot read from container {location.bucket!r}: set AZURE_STORAGE_ACCOUNT_NAME and "
            "AZURE_STORAGE_ACCOUNT_KEY, or name the account as in az://container@account.dfs.core.windows.net"
        )
    if unknown := options.keys() - _AZURE_OPTIONS:
        raise ConfigurationError(
            f"an Azure URI has no option {min(unknown)!r}: use one of {', '.join(_AZURE_OPTIONS)}"
        )
    key = None
    if location.account == os.environ.get("AZURE_STORAGE_ACCOUNT_NAME"):
        key = os.environ.get("AZURE_STORAGE_ACCOUNT_KEY")
    return fs.AzureFileSystem(location.account, account_key=key, **options)


def open_file(path: str) -> pa.NativeFile:
    """Open a file, given by a path or URI, for reading at any position.

    Raises:
        UnreadableFile: there is no such file, or it may not be read.
        StoreUnavailable: the object store does not answer.
    """
    filesystem, inside = locate(path)
    with reading(path):
        return filesystem.open_input_file(inside)


def tells_damage(error: OSError) -> bool:
    """Whether an error of pyarrow is about what a file holds, and not about the way to it."""
    return bool(_DAMAGED.search(str(error)))


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Translate pyarrow's errors while `path` is read; the messages name it.

    Raises:
        UnreadableFile: the file is missing, damaged, or may not be read.
        StoreUnavailable: the object store does not answer, or this machine has no more open files or memory.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UnreadableFile(f"there is no file {path}: check its name") from error
    except pa.ArrowMemoryError as error:
        raise StoreUnavailable(f"cannot read {path}: {one_line(error)}") from error
    except OSError as error:
        if tells_damage(error):
            what = f"{path} is damaged or truncated ({one_line(error)}): copy or write it again"
            raise UnreadableFile(what) from error
        remote = is_remote(path) and not isinstance(error, PermissionError)
        if remote or error.errno in _NO_FAULT_OF_A_FILE:
            raise StoreUnavailable(f"cannot read {path}: {one_line(error)}") from error
        raise UnreadableFile(f"cannot read {path}: {one_line(error)}") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UnreadableFile(f"cannot read {path}: {one_line(error)}") from error
