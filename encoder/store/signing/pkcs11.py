"""Keys in hardware modules, which sign without giving the key away: PKCS#11."""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from encoder.errors import ConfigurationError, MissingExtra
from encoder.store.signing.keys import key_password
from encoder.store.signing.public_keys import normal_key

__all__ = ["Pkcs11Signer"]

_EXAMPLE = "pkcs11:token=TOKEN;object=KEY?module-path=/usr/lib/softhsm/libsofthsm2.so"
_PATH = ("token", "serial", "object", "id", "type")
_QUERY = ("module-path", "pin-value", "pin-source")


class Pkcs11Signer:
    """A private key in a PKCS#11 module.

    Args:
        uri: the key as RFC 7512 names it, such as
            `pkcs11:token=release;object=millstream?module-path=/usr/lib/softhsm/libsofthsm2.so`. The key is
            found by `object` (its label), `id`, or both; the token by `token` (its label), `serial`, or
            both. The PIN is in `pin-value`, in the file `pin-source`, or in `MILLSTREAM_KEY_PASSWORD`.

    Raises:
        ConfigurationError: the URI is invalid, the module cannot be loaded, it refuses the PIN, or it has no
            such key on the curve P-256.
        MissingExtra: python-pkcs11 is not installed.
    """

    def __init__(self, uri: str) -> None:
        self._name, self._attributes = _parse(uri)
        with self._session() as session:
            self._object(session, "PRIVATE_KEY")
            self._public = self._pem(self._object(session, "PUBLIC_KEY"))

    def public_key(self) -> bytes:
        """The public key, as PEM."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """Sign the SHA-256 of `data`, in the module.

        Raises:
            ConfigurationError: the module refuses to.
        """
        from pkcs11 import Mechanism
        from pkcs11.util.ec import encode_ecdsa_signature

        with self._session() as session:
            key = self._object(session, "PRIVATE_KEY")
            return bytes(
                encode_ecdsa_signature(key.sign(hashlib.sha256(data).digest(), mechanism=Mechanism.ECDSA))
            )

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """A session of the token, logged in; errors inside it name the key."""
        try:
            import pkcs11
        except ModuleNotFoundError as error:
            raise MissingExtra("python-pkcs11, which signs with keys in hardware,", "pkcs11") from error
        module = self._text("module-path")
        if module is None:
            raise ConfigurationError(f"the URI of the key {self._name} names no module: write {_EXAMPLE}")
        try:
            library = pkcs11.lib(module)
        except (RuntimeError, pkcs11.PKCS11Error) as error:
            raise ConfigurationError(f"cannot load the PKCS#11 module {module}: {error}") from error
        pin = self._pin()
        try:
            token = library.get_token(
                token_label=self._text("token"), token_serial=self._attributes.get("serial")
            )
            with token.open(user_pin=pin) as session:
                yield session
        except pkcs11.PKCS11Error as error:
            reason = f"{type(error).__name__} {error}".strip()  # most have no text, their names say it
            raise ConfigurationError(f"cannot use the key {self._name}: {reason}") from error

    def _object(self, session: Any, half: str) -> Any:
        """The private or the public half of the key."""
        from pkcs11 import Attribute, KeyType, ObjectClass

        named = {Attribute.LABEL: self._text("object"), Attribute.ID: self._attributes.get("id")}
        if not any(named.values()):
            raise ConfigurationError(f"the URI {self._name} names no key: write {_EXAMPLE}")
        wanted = {Attribute.CLASS: ObjectClass[half], Attribute.KEY_TYPE: KeyType.EC}
        found = list(session.get_objects(wanted | {key: value for key, value in named.items() if value}))
        if len(found) > 1:
            raise ConfigurationError(f"{self._name}: several keys match, add id=%01 to the URI")
        if not found:
            name = half.lower().replace("_", " ")
            hint = "" if self._pin() else "; tokens show private keys to those who give the PIN only"
            raise ConfigurationError(f"{self._name}: the token has no {name} of this name, on a curve{hint}")
        return found[0]

    def _pem(self, public: Any) -> bytes:
        from pkcs11.util.ec import encode_ec_public_key

        data = base64.encodebytes(encode_ec_public_key(public)).decode()
        return normal_key(f"-----BEGIN PUBLIC KEY-----\n{data}-----END PUBLIC KEY-----\n", self._name)

    def _pin(self) -> str | None:
        source = self._text("pin-source")
        if source is not None:
            path = source.removeprefix("file://").removeprefix("file:")
            try:
                return Path(path).read_text("utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"cannot read the PIN of {self._name} in {path}: {error}") from error
        password = key_password()
        return self._text("pin-value") or (password.decode() if password else None)

    def _text(self, attribute: str) -> str | None:
        value = self._attributes.get(attribute)
        return None if value is None else value.decode()


def _parse(uri: str) -> tuple[str, dict[str, bytes]]:
    """The URI without what may be secret, and its attributes.

    Raises:
        ConfigurationError: an attribute is unknown.
    """
    name, _, query = uri.partition("?")
    parts = [
        (part, known)
        for text, separator, known in ((name.removeprefix("pkcs11:"), ";", _PATH), (query, "&", _QUERY))
        for part in text.split(separator)
        if part
    ]
    found: dict[str, bytes] = {}
    for part, known in parts:
        key, _, value = part.partition("=")
        if key not in known:
            raise ConfigurationError(
                f"the URI of the key {name} has the attribute {key!r}: it must be one of {', '.join(known)} "
                f"there, such as {_EXAMPLE}"
            )
        found[key] = unquote_to_bytes(value)
    return name, found
