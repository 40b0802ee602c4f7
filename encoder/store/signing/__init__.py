"""Signed versions: keys, signatures, and who is trusted.

A signature is a Sigstore bundle in a version's manifest, as the tool `model_signing` of OpenSSF Model Signing
writes it for a key: a DSSE envelope around an in-toto statement that lists the files. Millstream adds the
whole manifest to the statement. So a reader knows that the version is the one that was signed, and
`model_signing` accepts the folder that `millstream models pull` writes.
"""

from encoder.store.signing.port import Signer

__all__ = ["Signer"]
