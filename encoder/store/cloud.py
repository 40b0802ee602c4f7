"""Objects in S3, Google Cloud Storage, Azure and, for tests, memory, through obstore.

Credentials, regions and endpoints come from each cloud's own environment (`AWS_ACCESS_KEY_ID`,
`AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME`, …); obstore reads them.
AWS profiles are read too.
"""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)
from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

from encoder.errors import (
    ConfigurationError,
    InvalidReference,
    MillstreamError,
    NotInStore,
    StoreUnavailable,
    UnsafeStore,
)
from encoder.store.aws_profile import profile_credentials
from encoder.store.port import ObjectInfo
from encoder.uris import Location, credentials_of, split_query

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

__all__ = ["CloudObjects", "open_cloud"]

_STORES: dict[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
_CHUNK = 4 << 20
_SMALL = 1 << 20  # bytes; a larger write has the time limit of a transfer

# A dead endpoint fails within 20 s: no attempt starts after 12 s or lasts longer than 8 s.
_RETRIES: "RetryConfig" = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=12),
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=3), "base": 2},
}
_REQUEST = {"connect_timeout": "5s", "timeout": "8s"}
_TRANSFER = {"connect_timeout": "5s", "timeout": "15m"}

_memory: dict[str, MemoryStore] = {}
_memory_lock = threading.Lock()

# obstore's threads do not survive a fork, so a request in the child would hang.
_connected, _forked = threading.Event(), threading.Event()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _forked.set() if _connected.is_set() else None)


def open_cloud(uri: str, location: Location) -> "CloudObjects":
    """Open a root without reading or writing anything.

    Args:
        uri: the root, for messages.
        location: the parsed `uri`.

    Raises:
        InvalidReference: the URI has a query.
        ConfigurationError: the environment lacks a setting that the cloud needs.
    """
    if query := split_query(uri)[1]:
        raise InvalidReference(
            f"{uri}: only inputs take options such as {query}: set the cloud's environment variables instead"
        )
    if location.cloud == "memory":
        with _memory_lock:
            store = _memory.setdefault(location.bucket, MemoryStore())
        return CloudObjects(uri, store, store, location.path)
    options: dict[str, Any] = {"prefix": location.path or None, "retry_config": _RETRIES}
    if location.account:
        options["account_name"] = location.account
    if location.cloud == "s3" and (provider := profile_credentials()) is not None:
        options["credential_provider"] = provider
    if location.anonymous:
        options["skip_signature"] = True
    with _translated(uri):
        small, large = (
            _STORES[location.cloud](location.bucket, **options, **limits) for limits in (_REQUEST, _TRANSFER)
        )
    return CloudObjects(uri, small, large)


class CloudObjects:
    """Objects in one bucket.

    Args:
        uri: the root, for messages.
        small: obstore's store for requests, which fails within seconds.
        large: the same store for transfers, which may take minutes.
        prefix: the prefix of all keys, if the stores do not add it themselves.
    """

    def __init__(self, uri: str, small: "ObjectStore", large: "ObjectStore", prefix: str = "") -> None:
        self.uri = uri
        self._small = small
        self._large = large
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def create(self, key: str, data: bytes | memoryview) -> bool:
        with _translated(self.uri, key):
            try:
                self._put(key, data, "create")
            except AlreadyExistsError:
                return False
            return True

    def overwrite(self, key: str, data: bytes | memoryview) -> None:
        with _translated(self.uri, key):
            self._put(key, data, "overwrite")

    def _put(self, key: str, data: bytes | memoryview, mode: Literal["create", "overwrite"]) -> None:
        store = self._small if len(data) <= _SMALL else self._large
        try:
            obstore.put(store, self._prefix + key, data, mode=mode, use_multipart=False)
        except FileNotFoundError:
            raise NotInStore(f"there is no bucket for {self.uri}: create it first") from None

    def read(self, key: str, at_most: int | None = None) -> bytes:
        with _translated(self.uri, key):
            found = obstore.get(self._small, self._prefix + key)
            if at_most is None or found.meta["size"] <= at_most:
                return found.bytes().to_bytes()
            return obstore.get_range(self._small, self._prefix + key, start=0, end=at_most).to_bytes()

    def read_end(self, key: str, n_bytes: int) -> bytes:
        with _translated(self.uri, key):  # Azure has no suffix ranges
            size = obstore.head(self._small, self._prefix + key)["size"]
            start = max(0, size - n_bytes)
            return obstore.get_range(self._small, self._prefix + key, start=start, end=size).to_bytes()

    def stream(self, key: str) -> Iterator[bytes]:
        with _translated(self.uri, key):
            for chunk in obstore.get(self._large, self._prefix + key).stream(min_chunk_size=_CHUNK):
                yield bytes(chunk)

    def stat(self, key: str) -> ObjectInfo | None:
        with _translated(self.uri, key):
            try:
                meta = obstore.head(self._small, self._prefix + key)
            except FileNotFoundError:
                return None
            return ObjectInfo(key, meta["size"], meta["last_modified"])

    def scan(self, folder: str, after: str = "") -> list[ObjectInfo]:
        offset = self._prefix + after if after else None
        with _translated(self.uri, folder):
            found = obstore.list(self._small, self._prefix + folder, offset=offset).collect()
        infos = [
            ObjectInfo(meta["path"].removeprefix(self._prefix), meta["size"], meta["last_modified"])
            for meta in found
        ]
        return sorted(infos, key=lambda info: info.key)

    def folders(self) -> list[str]:
        with _translated(self.uri):
            found = obstore.list_with_delimiter(self._small, self._prefix or None)["common_prefixes"]
        return sorted(path.rstrip("/").rpartition("/")[2] for path in found)

    def delete(self, key: str) -> None:
        with _translated(self.uri, key):
            try:
                obstore.delete(self._small, self._prefix + key)
            except FileNotFoundError:
                return


@contextmanager
def _translated(uri: str, key: str = "") -> Iterator[None]:
    """Raise obstore's errors as ours, without a cause, which might show signed URLs."""
    if _forked.is_set():
        raise ConfigurationError(
            f"{uri} was used before this process was forked: start processes with 'spawn' instead"
        )
    _connected.set()
    try:
        yield
    except FileNotFoundError:
        raise NotInStore(f"{uri} has no {key}") from None
    except (BaseError, ValueError) as error:
        raise _our_error(error, uri) from None


def _our_error(error: Exception, uri: str) -> MillstreamError:
    """The Millstream error for one of obstore's, which mostly differ in their text only."""
    text = str(error)
    status, reason = _status(text), _reason(text)
    variables = credentials_of(uri)
    if isinstance(error, NotSupportedError) or status == 501:
        return UnsafeStore(
            f"{uri} lacks create-only writes, which versions need: use another store ({reason})"
        )
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in (401, 403):
        return ConfigurationError(
            f"{uri} refuses access: check {variables} and the bucket's rules ({reason})"
        )
    if (
        "169.254.169.254" in text or "Account must be specified" in text
    ):  # the metadata service of cloud machines
        return ConfigurationError(f"no credentials for {uri}: set {variables}")
    if isinstance(error, ValueError | InvalidPathError | UnknownConfigurationKeyError):
        return ConfigurationError(f"cannot open {uri}: {reason}")
    if "without LOCATION" in text:  # S3's answer to a request for another region
        return ConfigurationError(f"the bucket of {uri} is in another region: set AWS_REGION")
    if "builder error" in text:
        return ConfigurationError(
            f"the endpoint of {uri} is not HTTPS: set AWS_ALLOW_HTTP=true to allow plain HTTP"
        )
    if status == 404:
        return NotInStore(f"there is no bucket for {uri}: {reason}")
    if status is None or status >= 500 or status in (408, 409, 425, 429):
        return StoreUnavailable(f"{uri} does not answer: {reason}")
    return ConfigurationError(f"{uri} rejects the request: {reason}")


def _status(text: str) -> int | None:
    """The HTTP status in obstore's message, or None without an answer."""
    match = re.search(r"non-2xx status code: ([0-9]{3})", text)
    return int(match[1]) if match else None


def _reason(text: str) -> str:
    """The essence of obstore's message, without URLs, which may carry signatures."""
    code, message = (re.search(rf"<{tag}>([^<]*)</{tag}>", text) for tag in ("Code", "Message"))
    if code:
        return f"{code[1]}: {message[1]}" if message else code[1]
    if "TimedOut" in text or "kind: Timeout" in text:
        return "no answer in time"
    detail = re.search(r'(?:message|error): "([^"]*)"', text)
    if detail:
        return detail[1]
    first = text.partition("\n")[0].rpartition(" - ")[2]
    return re.sub(r"https?://\S+", "…", first)
