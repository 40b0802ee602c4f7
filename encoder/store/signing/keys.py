"""Private keys in files, `NAME.key`: ECDSA on the curve P-256, as PEM."""

import os
from pathlib import Path

from encoder.errors import ConfigurationError, MissingExtra, OutputConflict
from encoder.store.signing.port import Signer
from encoder.store.signing.public_keys import read_text, wrong_kind

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
except ModuleNotFoundError as missing:
    raise MissingExtra("cryptography, which signs and verifies versions,", "signing") from missing

__all__ = ["LocalSigner", "key_password", "new_key", "open_signer"]

PASSWORD_VARIABLE = "MILLSTREAM_KEY_PASSWORD"  # noqa: S105 - the variable's name
"""The environment variable that holds a private key's password, or `@FILE`, the file that holds it."""

_PEM = "-----BEGIN "
_EXPOSED = 0o027
"""What a private key's file must not allow: writing by its group, and anything by others."""


def new_key(name: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Make a key pair: `NAME.key`, which its owner alone can read, and `NAME.pub`.

    The private key is encrypted if `MILLSTREAM_KEY_PASSWORD` is set.

    Returns:
        The files of the private and the public key.

    Raises:
        OutputConflict: one of the files exists.
        ConfigurationError: a file cannot be written, or the password cannot be read.
    """
    private, public = (Path(f"{os.fspath(name)}.{kind}") for kind in ("key", "pub"))
    password = key_password()
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption(),
    )
    for path in (private, public):
        if path.exists() or path.is_symlink():
            raise OutputConflict(f"{path} already exists: name another key, keys are never overwritten")
    try:
        private.touch(0o600, exist_ok=False)
        private.write_bytes(pem)
        with public.open("xb") as file:
            file.write(_pem(key.public_key()))
    except OSError as error:
        raise ConfigurationError(f"cannot write {private}: {error.strerror}; name another file") from error
    return private, public


class LocalSigner:
    """A private key in memory."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "LocalSigner":
        """Read a private key from its file; `MILLSTREAM_KEY_PASSWORD` holds its password, if it has one.

        Raises:
            ConfigurationError: the file cannot be read, others can read it, or it is no private key of P-256.
        """
        path = Path(path)
        text = read_text(path)
        exposed = path.stat().st_mode & _EXPOSED
        if exposed and "PRIVATE KEY-----" in text:
            raise ConfigurationError(
                f"others may read or change the private key {path} (mode {path.stat().st_mode & 0o777:o}): "
                f"chmod 600 {path}, and make a new key if somebody may have read it"
            )
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, pem: str, origin: str) -> "LocalSigner":
        """Parse a private key.

        Args:
            pem: its text.
            origin: where it comes from, for errors.

        Raises:
            ConfigurationError: it is no private key of P-256, or its password is missing or wrong.
        """
        if "PUBLIC KEY-----" in pem:
            raise ConfigurationError(f"{origin} is a public key: sign with the private one, NAME.key")
        password = key_password()
        try:
            key = serialization.load_pem_private_key(pem.encode(), password if "ENCRYPTED" in pem else None)
        except TypeError as error:
            raise ConfigurationError(
                f"the private key {origin} is encrypted: set {PASSWORD_VARIABLE} to its password, or to @FILE"
            ) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            if "ENCRYPTED" in pem and password:
                raise ConfigurationError(
                    f"cannot read the private key {origin}: the password in {PASSWORD_VARIABLE} is wrong, or "
                    "the file is damaged"
                ) from error
            raise ConfigurationError(
                f"{origin} is not a private key in PEM: make one with `millstream keys new NAME`"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != ec.SECP256R1.name:
            raise ConfigurationError(wrong_kind(origin, key))
        return cls(key)

    def public_key(self) -> bytes:
        """The public key, as PEM."""
        return _pem(self._key.public_key())

    def sign(self, data: bytes) -> bytes:
        """Sign the SHA-256 of `data`."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))


def open_signer(key: str) -> Signer:
    """The signer that `--sign` or `MILLSTREAM_SIGNING_KEY` names.

    Args:
        key: the path of a private key, its PEM text, a `pkcs11:` URI, or `@FILE`, a file that holds one of
            these.

    Raises:
        ConfigurationError: there is no such key, or it cannot be used.
        MissingExtra: it is in a PKCS#11 module, and the package for that is not installed.
    """
    origin, text = key, key.strip()
    if text.startswith("@"):
        origin = text[1:]
        text = read_text(Path(origin)).strip()
        if text.startswith(_PEM):
            return LocalSigner.read(origin)
    if text.startswith(_PEM):
        return LocalSigner.parse(text, "of the environment")
    if text.startswith("pkcs11:"):
        from encoder.store.signing.pkcs11 import Pkcs11Signer

        return Pkcs11Signer(text)
    return LocalSigner.read(text)


def key_password() -> bytes | None:
    """The password of the environment, or None."""
    value = os.environ.get(PASSWORD_VARIABLE, "")
    if value.startswith("@"):
        value = read_text(Path(value[1:])).rstrip("\r\n")
        if not value:
            raise ConfigurationError(
                f"the file that {PASSWORD_VARIABLE} names is empty: write the password into it"
            )
    return value.encode() or None


def _pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
