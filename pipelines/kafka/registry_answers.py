"""What a schema registry's answers mean, in words that show no user and no password."""

from urllib.parse import urlsplit, urlunsplit

from encoder.errors import ConfigurationError, RegistryUnavailable

__all__ = ["PREFIX", "is_missing", "refusal", "shown_url"]

PREFIX = "schema.registry."
"""Properties that begin so are the registry's."""

# What the registry itself says of a subject, a version or a schema that it does not have. A 404 without such
# a code comes from something else at that address, and says nothing about the schema.
_NOT_FOUND = frozenset({40400, 40401, 40402, 40403, 40406, 40409})
_UNAUTHENTICATED, _FORBIDDEN, _CONFLICT, _UNPROCESSABLE = 401, 403, 409, 422
_NOT_HERE = 404
_SAME_ANSWER_AGAIN = range(400, 500)  # the request is wrong, and stays so
_LATER = (408, 429)  # but for these


def is_missing(error: Exception) -> bool:
    """Whether the registry says itself that it does not have what was asked for."""
    status, code = getattr(error, "http_status_code", None), getattr(error, "error_code", None)
    return status == _NOT_HERE and code in _NOT_FOUND


def refusal(
    error: Exception, url: str, subject: str | None = None
) -> ConfigurationError | RegistryUnavailable:
    """What an error of the client's means to us, without what may show a password.

    Args:
        error: any.
        url: of the registry, for people.
        subject: whose schema was to be registered, or None if something was read.
    """
    status = getattr(error, "http_status_code", None)
    said = str(getattr(error, "error_message", None) or "") or str(error) or type(error).__name__
    said = " ".join(said.split())
    if status == _UNAUTHENTICATED:
        return ConfigurationError(
            f"the schema registry {url} does not know us (401): set the property "
            f"{PREFIX}basic.auth.user.info, or another way to authenticate"
        )
    if status == _FORBIDDEN:
        what = f"register a schema for {subject!r}" if subject else "read schemas"
        return ConfigurationError(f"the schema registry {url} does not let us {what} (403): {said}")
    if subject is not None and status in (_CONFLICT, _UNPROCESSABLE):
        return ConfigurationError(
            f"the schema registry {url} refuses the schema for {subject!r} ({said}): "
            "write to another topic, or change the subject's compatibility"
        )
    if status in _SAME_ANSWER_AGAIN and status not in _LATER:
        return RegistryUnavailable(f"{url} answers {status} ({said}): is this the URL of a schema registry?")
    return RegistryUnavailable(f"the schema registry {url} does not answer: {said}")


def shown_url(url: str) -> str:
    """A URL, or several separated by commas, without user and password."""
    shown = []
    for one in url.split(","):
        parts = urlsplit(one.strip())
        shown.append(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
    return ",".join(shown)
