"""Model references: a folder, or a version in a store.

    ./models/minilm                       a model folder on this machine
    s3://bucket/models/minilm             the latest version in a store
    s3://bucket/models/minilm@7           version 7
    file:///srv/models/minilm@sha256:ab…  the version with this digest (12 hexadecimal digits are enough)
    ./store/minilm@latest                 a store in a local folder

A local path is a store if it has a selector or holds the folder `v/`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from encoder.errors import InvalidReference
from encoder.uris import scheme_of

__all__ = ["Reference", "Selector", "parse", "store_uri"]

Selector = int | str
"""A version number, `latest`, or `sha256:` and at least 12 hexadecimal digits."""

_SELECTOR = re.compile(r"@(latest|[1-9][0-9]*|sha256:[0-9a-f]{12,64})$")


@dataclass(frozen=True)
class Reference:
    """A parsed reference: `kind` says whether `location` is a model folder or a store's URI."""

    kind: Literal["folder", "store"]
    location: str
    selector: Selector = "latest"

    def __str__(self) -> str:
        """The reference as text, which `parse` reads."""
        return self.location if self.kind == "folder" else f"{self.location}@{self.selector}"


def parse(ref: str) -> Reference:
    """Parse a model reference.

    Raises:
        InvalidReference: it is empty, or its scheme or its selector is invalid.
    """
    text = str(ref).strip()
    if not text:
        raise InvalidReference(
            "the model reference is empty: name a folder or a store, as in s3://bucket/models/minilm@7"
        )
    match = _SELECTOR.search(text)
    location, selector = (text[: match.start()], match[1]) if match else (text, "latest")
    invalid = match is None and "@" in text.rsplit("/", 1)[-1]
    mistaken = invalid and _is_store(text.rpartition("@")[0]) and not Path(text).exists()
    if scheme_of(location) is None and not (match or mistaken or _is_store(location)):
        return Reference("folder", text)
    if invalid:
        raise InvalidReference(
            f"the selector of {text!r} is invalid: use @latest, @7, or @sha256: and at least 12 digits"
        )
    return Reference("store", store_uri(location), int(selector) if selector.isdecimal() else selector)


def _is_store(folder: str) -> bool:
    return (Path(folder) / "v").is_dir()


def store_uri(location: str) -> str:
    """The absolute URI of a store, given as a URI or a local path, without a trailing slash.

    Raises:
        InvalidReference: the URI's scheme is unknown.
    """
    scheme = scheme_of(location)
    if scheme is None:
        return Path(location).expanduser().absolute().as_uri()
    return location.rstrip("/") if location.rstrip("/") != f"{scheme}:" else location
