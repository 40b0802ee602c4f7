"""What obstore's errors mean: obstore tells most of them apart only in their text."""

import re

from obstore.exceptions import (
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)

from encoder.errors import (
    ConfigurationError,
    MillstreamError,
    NotInStore,
    StoreUnavailable,
    UnsafeStore,
)
from encoder.uris import credentials_of

__all__ = ["translated"]


def translated(error: Exception, uri: str) -> MillstreamError:  # noqa: PLR0911 - one line a kind of error
    """The error of ours that says what to do about obstore's; its message is one line and names the URI."""
    text = str(error)
    status, reason = _status(text), _reason(text)
    variables = credentials_of(uri)
    if isinstance(error, NotSupportedError) or status == 501:
        return UnsafeStore(f"{uri} cannot write an object only if it is absent: use another store ({reason})")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in (401, 403):
        return ConfigurationError(
            f"{uri} refuses access: check {variables} and the bucket's rules ({reason})"
        )
    if "169.254.169.254" in text or "Account must be specified" in text:  # the clouds' own machines have it
        return ConfigurationError(f"no credentials for {uri}: set {variables}")
    if isinstance(error, ValueError | InvalidPathError | UnknownConfigurationKeyError):
        return ConfigurationError(f"cannot open {uri}: {reason}")
    if "without LOCATION" in text:  # what S3 answers to a request for another region
        return ConfigurationError(f"the bucket of {uri} is in another region: set AWS_REGION")
    if "builder error" in text:
        return ConfigurationError(
            f"the endpoint of {uri} is not HTTPS: set AWS_ALLOW_HTTP=true if it may be plain HTTP"
        )
    if status == 404:
        return NotInStore(f"there is no bucket for {uri}: {reason}")
    if status is None or status >= 500 or status in (408, 409, 425, 429):
        return StoreUnavailable(f"{uri} does not answer: {reason}")
    return ConfigurationError(f"{uri} does not understand the request: {reason}")


def _status(text: str) -> int | None:
    """The HTTP status in obstore's message, or None where there was no answer."""
    match = re.search(r"non-2xx status code: ([0-9]{3})", text)
    return int(match[1]) if match else None


def _reason(text: str) -> str:
    """The shortest true words of obstore's message: never its address, which may carry a signature."""
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
