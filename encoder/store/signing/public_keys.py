"""Public keys in files, `NAME.pub`, and what they verify: ECDSA on the curve P-256, as PEM.

Every process that reads signed versions imports this. The readers of all other kinds of keys, which take
`cryptography` longest to import, are imported only for a key in another form.
"""

import base64
import binascii
import hashlib
import os
import re
from pathlib import Path

from encoder.errors import ConfigurationError, MissingExtra

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
except ModuleNotFoundError as missing:
    raise MissingExtra("cryptography, which signs and verifies versions,", "signing") from missing

__all__ = ["is_signed", "key_id", "normal_key", "read_public_key", "read_text", "wrong_kind"]

_PEM = re.compile(rb"\s*-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*")
_HEAD = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""What stands before the point in the SubjectPublicKeyInfo (DER) of a key on P-256."""
_POINT = 65  # bytes of an uncompressed point on P-256


def read_public_key(path: str | os.PathLike[str]) -> bytes:
    """Read a public key from its file.

    Returns:
        Its PEM, as `normal_key` gives it.

    Raises:
        ConfigurationError: the file cannot be read, or it is no public key of P-256.
    """
    return normal_key(read_text(Path(path)), str(path))


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
    if (point := _point(data)) is not None:
        try:
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        except ValueError:
            pass  # the reader of any kind of key says why
        else:
            return _pem(point)
    return _other_key(data, origin)


def key_id(public_key: bytes) -> str:
    """The id of a public key: the sha256 of its PEM, in hexadecimal digits."""
    return hashlib.sha256(public_key).hexdigest()


def is_signed(data: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether a signature (DER) is by a key, as `normal_key` gives it, over the SHA-256 of `data`."""
    point = _point(public_key)
    assert point is not None, "normal_key gives this form alone"
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    try:
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _point(pem: bytes) -> bytes | None:
    """The uncompressed point of a key on P-256 in the usual form; None for any other."""
    match = _PEM.fullmatch(pem)
    try:
        der = base64.b64decode(b"".join(match[1].split()), validate=True) if match else b""
    except binascii.Error:
        return None
    return der[len(_HEAD) :] if der.startswith(_HEAD) and len(der) == len(_HEAD) + _POINT else None


def _pem(point: bytes) -> bytes:
    text = base64.b64encode(_HEAD + point)
    lines = [text[k : k + 64] for k in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN PUBLIC KEY-----", *lines, b"-----END PUBLIC KEY-----", b""])


def _other_key(data: bytes, origin: str) -> bytes:
    """A key in any form that `cryptography` reads, such as with a compressed point."""
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"{origin} is not a public key in PEM: name the .pub file that `millstream keys new` wrote"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != ec.SECP256R1.name:
        raise ConfigurationError(wrong_kind(origin, key))
    return _pem(key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint))


def wrong_kind(origin: str, key: object) -> str:
    """The message about a key that is not ECDSA on P-256."""
    curve = getattr(getattr(key, "curve", None), "name", None)
    kind = f"on the curve {curve}" if curve else f"of another kind ({type(key).__name__})"
    return f"{origin} holds a key {kind}: use ECDSA on P-256, as `millstream keys new` makes"


def read_text(path: Path) -> str:
    """The text of a key file.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise ConfigurationError(f"cannot read {path}: it is not a file")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise ConfigurationError(f"cannot read the key file {path}: {reason}") from error
