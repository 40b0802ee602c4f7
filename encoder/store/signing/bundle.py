"""The signature of a version: a Sigstore bundle of OpenSSF Model Signing. No I/O.

The bundle is a DSSE envelope around an in-toto statement. The statement's predicate lists the version's
files (`resources`), which the tool `model_signing` compares with a folder. It ignores our own part,
`millstream`: the manifest without its signatures. So one signature binds the files, the name, the number and
all the rest.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from encoder.errors import BadSignature
from encoder.store.manifest import File, Manifest
from encoder.store.signing.port import Signer

__all__ = [
    "SIGNATURE_FILE",
    "check_signature",
    "claimed_statement",
    "named_key",
    "resources_of",
    "sign_manifest",
    "signed_by",
]

SIGNATURE_FILE = "model.sig"
"""Where Model Signing's tool writes the signature of a folder."""

_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_SERIALIZATION = {
    "method": "files",
    "hash_type": "sha256",
    "allow_symlinks": False,
    "ignore_paths": [SIGNATURE_FILE, ".git", ".gitattributes", ".github", ".gitignore"],
}


class _Signature(msgspec.Struct):
    sig: str


class _Envelope(msgspec.Struct, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[_Signature]


class _Key(msgspec.Struct):
    hint: str | None = None


class _Material(msgspec.Struct, rename="camel"):
    public_key: _Key | None = None


class _Bundle(msgspec.Struct, rename="camel"):
    """The fields of a bundle that verification reads; other fields are left alone."""

    media_type: str
    verification_material: _Material
    dsse_envelope: _Envelope


def sign_manifest(manifest: Manifest, signer: Signer) -> dict[str, Any]:
    """The bundle that signs a manifest; signatures that it holds already are not part of what is signed.

    Returns:
        The bundle as JSON values, as `model_signing` reads them from `model.sig`.
    """
    from encoder.store.signing.public_keys import key_id

    payload = msgspec.json.encode(_statement(manifest))
    signature = signer.sign(_encoding(payload))
    return {
        "mediaType": _BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": key_id(signer.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }


def signed_by(bundle: Mapping[str, Any], public_key: bytes) -> dict[str, Any]:
    """The statement in a bundle, once the bundle is known to be signed by a key.

    Args:
        bundle: a bundle as JSON values.
        public_key: PEM, as `read_public_key` gives it.

    Raises:
        BadSignature: it is not such a bundle, or not signed by this key.
        MissingExtra: `cryptography` is not installed.
    """
    from encoder.store.signing.public_keys import is_signed, key_id

    parsed = _parse(bundle)
    envelope = parsed.dsse_envelope
    hint = parsed.verification_material.public_key and parsed.verification_material.public_key.hint
    if hint and hint != key_id(public_key):
        raise BadSignature(f"it is signed by the key {hint[:12]}…, not by {key_id(public_key)[:12]}…")
    payload = _decoded(envelope.payload)
    if not is_signed(_encoding(payload), _decoded(envelope.signatures[0].sig), public_key):
        raise BadSignature(
            f"the signature is not by the key {key_id(public_key)[:12]}…, or what it signs was changed"
        )
    return _checked_statement(payload)


def named_key(bundle: Mapping[str, Any]) -> str | None:
    """The id of the key that a bundle says it is signed by; nothing is verified."""
    try:
        material = msgspec.convert(bundle, _Bundle).verification_material
    except msgspec.ValidationError:
        return None
    return None if material.public_key is None else material.public_key.hint


def claimed_statement(bundle: Any) -> dict[str, Any]:
    """The statement in a bundle, whoever signed it; nothing is verified.

    Raises:
        BadSignature: it is not a bundle of Model Signing.
    """
    return _checked_statement(_decoded(_parse(bundle).dsse_envelope.payload))


def check_signature(manifest: Manifest, bundle: Mapping[str, Any], public_key: bytes) -> None:
    """Check that a bundle is signed by a key and signs this manifest.

    Raises:
        BadSignature: it does not; the message says what differs.
        MissingExtra: `cryptography` is not installed.
    """
    predicate = signed_by(bundle, public_key)["predicate"]
    signed, own = predicate.get("millstream"), _unsigned(manifest)
    if not isinstance(signed, dict):
        raise BadSignature("it signs the files alone, not the version: sign with `millstream models sign`")
    differing = sorted(
        key for key in {*signed, *own} if _canonical(signed.get(key)) != _canonical(own.get(key))
    )
    if differing:
        raise BadSignature(f"it signs another version: {', '.join(differing)} differ")
    if _canonical(predicate["resources"]) != _canonical(resources_of(manifest.files)):
        raise BadSignature("it signs other files")


def _statement(manifest: Manifest) -> dict[str, Any]:
    resources = resources_of(manifest.files)
    return {
        "_type": _STATEMENT,
        "subject": [{"name": manifest.name, "digest": {"sha256": _root_digest(resources)}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "serialization": _SERIALIZATION,
            "resources": resources,
            "millstream": _unsigned(manifest),
        },
    }


def _unsigned(manifest: Manifest) -> dict[str, Any]:
    """The manifest's fields without its signatures, as JSON values."""
    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    fields.pop("signatures", None)
    return fields


def resources_of(files: Iterable[File]) -> list[dict[str, str]]:
    """The files as Model Signing lists them: in the order of the parts of their paths."""
    ordered = sorted(files, key=lambda file: file.path.split("/"))
    return [{"name": file.path, "algorithm": "sha256", "digest": file.sha256} for file in ordered]


def _root_digest(resources: list[dict[str, str]]) -> str:
    digests = b"".join(bytes.fromhex(each["digest"]) for each in resources)
    return hashlib.sha256(digests).hexdigest()


def _encoding(payload: bytes) -> bytes:
    """What is signed of a payload: DSSE's pre-authentication encoding (PAE)."""
    return f"DSSEv1 {len(_PAYLOAD)} {_PAYLOAD} {len(payload)} ".encode() + payload


def _parse(bundle: Mapping[str, Any]) -> _Bundle:
    try:
        parsed = msgspec.convert(bundle, _Bundle)
    except msgspec.ValidationError as error:
        raise BadSignature(f"it is not a Sigstore bundle with a DSSE envelope: {error}") from error
    if parsed.media_type != _BUNDLE:
        raise BadSignature(f"it is a bundle of type {parsed.media_type!r}, not {_BUNDLE}")
    if parsed.dsse_envelope.payload_type != _PAYLOAD:
        raise BadSignature(f"its payload has type {parsed.dsse_envelope.payload_type!r}, not {_PAYLOAD}")
    if len(parsed.dsse_envelope.signatures) != 1:
        raise BadSignature(f"its envelope has {len(parsed.dsse_envelope.signatures)} signatures, not one")
    return parsed


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSignature(f"a part of it is not base64: {error}") from error


def _checked_statement(payload: bytes) -> dict[str, Any]:
    """A signed payload's statement, if it is one of Model Signing and agrees with itself."""
    try:
        statement: dict[str, Any] = msgspec.json.decode(payload, type=dict[str, Any])
        if (statement["_type"], statement["predicateType"]) != (_STATEMENT, _PREDICATE):
            raise BadSignature(f"it is a statement of type {statement['predicateType']!r}, not {_PREDICATE}")
        (subject,), resources = statement["subject"], statement["predicate"]["resources"]
        agrees = subject["digest"]["sha256"] == _root_digest(resources)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadSignature(f"what it signs is not a statement of Model Signing: {error!r}") from error
    if not agrees:
        raise BadSignature("its digest does not match the files that it lists")
    return statement


def _canonical(value: Any) -> str:
    """JSON in one form, which tells 1, 1.0 and true apart."""
    return json.dumps(value, sort_keys=True)
