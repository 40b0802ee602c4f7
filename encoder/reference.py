"""What a model reference (REF) means: a folder, or a version in a store.

    ./models/minilm                       a model folder on this machine
    s3://bucket/models/minilm             the latest version in a store
    s3://bucket/models/minilm@7           version 7, for ever
    file:///srv/models/minilm@sha256:ab…  the version with this digest (12 hexadecimal digits are enough)
    ./store/minilm@latest                 a store in a local folder, without its scheme

A local path is a store when it holds the store's folder `v/`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from encoder.errors import InvalidReference
from encoder.uris import scheme_of

__all__ = ["Reference", "Selector", "parse", "store_uri"]

Selector = int | str
"""A version number, the word `latest`, or `sha256:` and at least 12 hexadecimal digits."""

_SELECTOR = re.compile(r"@(latest|[1-9][0-9]*|sha256:[0-9a-f]{12,64})$")


@dataclass(frozen=True)
class Reference:
    """A parsed REF: `kind` says whether `location` is a model folder or a store's URI."""

    kind: Literal["folder", "store"]
    location: str
    selector: Selector = "latest"

    def __str__(self) -> str:
        """Write the reference back as a REF."""
        return self.location if self.kind == "folder" else f"{self.location}@{self.selector}"


def parse(ref: str) -> Reference:
    """Parse a REF.

    Raises:
        InvalidReference: the REF is empty, its scheme is unknown, or its selector cannot be read.
    """
    text = str(ref).strip()
    if not text:
        raise InvalidReference(
            "the model reference is empty: name a folder or a store, as in s3://bucket/models/minilm@7"
        )
    match = _SELECTOR.search(text)
    location, selector = (text[: match.start()], match[1]) if match else (text, "latest")
    if scheme_of(location) is None and match is None and not (Path(location) / "v").is_dir():
        return Reference("folder", text)
    if match is None and "@" in text.rsplit("/", 1)[-1]:
        raise InvalidReference(
            f"cannot read the selector of {text!r}: use @latest, @7 or @sha256: and 12 digits or more"
        )
    return Reference("store", store_uri(location), int(selector) if selector.isdecimal() else selector)


def store_uri(location: str) -> str:
    """The absolute URI of a store given as a URI or as a local path, without a slash at its end.

    Raises:
        InvalidReference: the URI's scheme is unknown.
    """
    scheme = scheme_of(location)
    if scheme is None:
        return Path(location).expanduser().absolute().as_uri()
    return location.rstrip("/") if location.rstrip("/") != f"{scheme}:" else location
