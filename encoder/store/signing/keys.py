"""Keys in files: `NAME.key` signs, `NAME.pub` verifies. ECDSA on the curve P-256, as PEM."""

import hashlib
import os
from pathlib import Path

from encoder.errors import ConfigurationError, MissingExtra, OutputConflict
from encoder.store.signing.port import Signer

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
except ModuleNotFoundError as missing:
    raise MissingExtra("cryptography, which signs and verifies versions,", "signing") from missing

__all__ = [
    "LocalSigner",
    "is_signed",
    "key_id",
    "key_password",
    "new_key",
    "normal_key",
    "open_signer",
    "read_public_key",
]

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
        text = _read(path)
        exposed = path.stat().st_mode & _EXPOSED
        if exposed:
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
            raise ConfigurationError(_wrong_kind(origin, key))
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
        text = _read(Path(origin)).strip()
        if text.startswith(_PEM):
            return LocalSigner.read(origin)
    if text.startswith(_PEM):
        return LocalSigner.parse(text, "of the environment")
    if text.startswith("pkcs11:"):
        from encoder.store.signing.pkcs11 import Pkcs11Signer

        return Pkcs11Signer(text)
    return LocalSigner.read(text)


def read_public_key(path: str | os.PathLike[str]) -> bytes:
    """Read a public key from its file.

    Returns:
        Its PEM, as `normal_key` gives it.

    Raises:
        ConfigurationError: the file cannot be read, or it is no public key of P-256.
    """
    return normal_key(_read(Path(path)), str(path))


def normal_key(pem: str | bytes, origin: str) -> bytes:
    """A public key's PEM in the one form that has no comments and the usual line lengths.

    Raises:
        ConfigurationError: it is no public key of P-256.
    """
    data = pem.encode() if isinstance(pem, str) else pem
    if b"PRIVATE KEY-----" in data:
        raise ConfigurationError(
            f"{origin} is a private key: trust the public one, NAME.pub, and keep this secret"
        )
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"{origin} is not a public key in PEM: name the .pub file that `millstream keys new` wrote"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != ec.SECP256R1.name:
        raise ConfigurationError(_wrong_kind(origin, key))
    return _pem(key)


def key_id(public_key: bytes) -> str:
    """The id of a public key: the sha256 of its PEM, in hexadecimal digits."""
    return hashlib.sha256(public_key).hexdigest()


def is_signed(data: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether a signature (DER) is by a key, over the SHA-256 of `data`."""
    key = serialization.load_pem_public_key(public_key)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def key_password() -> bytes | None:
    """The password of the environment, or None."""
    value = os.environ.get(PASSWORD_VARIABLE, "")
    if value.startswith("@"):
        value = _read(Path(value[1:])).rstrip("\r\n")
        if not value:
            raise ConfigurationError(
                f"the file that {PASSWORD_VARIABLE} names is empty: write the password into it"
            )
    return value.encode() or None


def _pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _wrong_kind(origin: str, key: object) -> str:
    curve = getattr(getattr(key, "curve", None), "name", None)
    kind = f"on the curve {curve}" if curve else f"of another kind ({type(key).__name__})"
    return f"{origin} holds a key {kind}: use ECDSA on P-256, as `millstream keys new` makes"


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise ConfigurationError(f"cannot read {path}: it is not a file")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise ConfigurationError(f"cannot read the key file {path}: {reason}") from error
