"""`Signer`: what signing needs of a key, wherever the key is kept."""

from typing import Protocol

__all__ = ["Signer"]


class Signer(Protocol):
    """A private key: ECDSA on the curve P-256.

    `LocalSigner` reads one from a file and `Pkcs11Signer` uses one in a hardware module. For a key in a
    cloud's key management, write these two methods with the cloud's client.
    """

    def public_key(self) -> bytes:
        """The public key, as PEM (SubjectPublicKeyInfo)."""

    def sign(self, data: bytes) -> bytes:
        """Sign the SHA-256 of `data`; the signature is DER, as ECDSA has it."""
