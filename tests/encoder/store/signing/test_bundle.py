"""Signatures of versions, beside the stock tool of OpenSSF Model Signing."""

import base64
import hashlib
import json
from datetime import UTC, datetime

import msgspec
import pytest
from model_signing_tool import model_signing

from encoder.errors import BadSignature
from encoder.store.manifest import File, Manifest, digest_of, encode
from encoder.store.signing.bundle import check_signature, sign_manifest, signed_by
from encoder.store.signing.keys import LocalSigner, new_key
from encoder.store.signing.public_keys import key_id, read_public_key

FILES = {
    "model.safetensors": b"table",
    "x/c.txt": b"in a folder",  # Model Signing sorts paths by their parts:
    "x-y.txt": b"after the folder x, though '-' is below '/'",
    "heads/fraud.safetensors": b"head",
    "ä.txt": "später".encode(),
}


def manifest(files=FILES, **changes):
    entries = tuple(
        File(path, hashlib.sha256(data).hexdigest(), len(data)) for path, data in sorted(files.items())
    )
    fields = {
        "format": 1,
        "name": "minilm",
        "version": 7,
        "digest": digest_of(entries),
        "files": entries,
        "teacher": "all-MiniLM-L6-v2",
        "parameters": {"dim": 256, "share": 0.1, "text": "{ä}", "nested": {"b": [1, None], "a": True}},
        "quality": {"sts": 0.8},
        "created_at": datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC),
        "write_id": "w1",
        "rolls_back_to": None,
        "created_by": "millstream 0.1.0",
    }
    return Manifest(**{**fields, **changes})


def write(folder, files=FILES):
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def payload_of(bundle):
    return json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))


def signed_payload(signer, payload):
    """A bundle of any payload, signed as DSSE says."""
    data = json.dumps(payload).encode() if isinstance(payload, dict) else payload
    kind = "application/vnd.in-toto+json"
    signature = signer.sign(f"DSSEv1 {len(kind)} {kind} {len(data)} ".encode() + data)
    bundle = sign_manifest(manifest(), signer)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(data).decode()
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    return bundle


def test_a_signature_is_over_the_whole_manifest(make_key):
    signer, public = make_key()
    bundle = sign_manifest(manifest(), signer)
    check_signature(manifest(), bundle, public)
    statement = signed_by(bundle, public)
    assert statement == payload_of(bundle)
    assert statement["predicate"]["millstream"] == json.loads(encode(manifest()))


def test_a_signature_survives_json(make_key):
    signer, public = make_key()
    stored = json.loads(json.dumps(sign_manifest(manifest(), signer)))
    check_signature(msgspec.json.decode(msgspec.json.encode(manifest()), type=Manifest), stored, public)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"version": 8},
        {"format": 2},
        {"teacher": None},
        {"parameters": {**manifest().parameters, "dim": 256.0}},
        {"parameters": {**manifest().parameters, "nested": {"b": [1, None], "a": 1}}},
        {"quality": {}},
        {"created_at": datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)},
        {"write_id": "w2"},
        {"rolls_back_to": 3},
        {"created_by": "another program"},
        {"digest": f"sha256:{'0' * 64}"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_signature_does_not_fit_a_manifest_that_differs_in_a_field(make_key, changes):
    signer, public = make_key()
    bundle = sign_manifest(manifest(), signer)
    with pytest.raises(BadSignature, match=f"it signs another version: {next(iter(changes))} differ"):
        check_signature(manifest(**changes), bundle, public)


@pytest.mark.parametrize(
    "files",
    [
        {**FILES, "x/c.txt": b"other"},
        {**FILES, "heads/new.safetensors": b""},
        {"model.safetensors": b"table"},
    ],
    ids=["exchanged", "added", "removed"],
)
def test_a_signature_does_not_fit_other_files(make_key, files):
    signer, public = make_key()
    with pytest.raises(BadSignature, match="digest, files differ"):
        check_signature(manifest(files), sign_manifest(manifest(), signer), public)


def test_a_signature_is_by_one_key(make_key):
    signer, _ = make_key("release")
    _, other = make_key("other")
    bundle = sign_manifest(manifest(), signer)
    with pytest.raises(BadSignature, match=rf"signed by the key {key_id(signer.public_key())[:12]}…, not by"):
        signed_by(bundle, other)
    bundle["verificationMaterial"]["publicKey"]["hint"] = key_id(other)  # which claims to be by the other
    with pytest.raises(BadSignature, match="is not by the key"):
        signed_by(bundle, other)


def test_no_byte_of_the_payload_can_change(make_key):
    signer, public = make_key()
    bundle = sign_manifest(manifest(), signer)
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    for changed in (payload.replace(b"minilm", b"minilx"), payload + b" ", payload[:-1], b""):
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(changed).decode()
        with pytest.raises(BadSignature, match="or what it signs was changed"):
            signed_by(bundle, public)


def _change(*path, value):
    def change(bundle):
        for key in path[:-1]:
            bundle = bundle[key]
        bundle[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_change("mediaType", value="application/json"), "a bundle of type 'application/json'"),
        (_change("dsseEnvelope", "payloadType", value="text/plain"), "its payload has type 'text/plain'"),
        (_change("dsseEnvelope", "signatures", value=[]), "its envelope has 0 signatures, not one"),
        (_change("dsseEnvelope", "payload", value="no base64"), "a part of it is not base64"),
        (_change("dsseEnvelope", "payload", value="ä"), "a part of it is not base64"),
        (_change("dsseEnvelope", "signatures", 0, "sig", value="*"), "a part of it is not base64"),
        (_change("dsseEnvelope", "signatures", 0, "sig", value=""), "or what it signs was changed"),
        (_change("dsseEnvelope", value=None), r"not a Sigstore bundle with a DSSE envelope: .*dsseEnvelope"),
        (_change("verificationMaterial", value=[]), "not a Sigstore bundle"),
    ],
)
def test_what_is_no_such_bundle_is_refused(make_key, change, message):
    signer, public = make_key()
    bundle = sign_manifest(manifest(), signer)
    change(bundle)
    with pytest.raises(BadSignature, match=message):
        signed_by(bundle, public)
    with pytest.raises(BadSignature, match="not a Sigstore bundle"):
        signed_by({}, public)


def _without(key):
    return {name: value for name, value in payload_of_plain().items() if name != key}


def payload_of_plain():
    class Null:
        def public_key(self):
            return b""

        def sign(self, _):
            return b""

    return payload_of(sign_manifest(manifest(), Null()))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"not JSON", "not a statement of Model Signing"),
        (b"[]", "not a statement of Model Signing"),
        (b"\xff", "not a statement of Model Signing"),
        (_without("predicate"), "not a statement of Model Signing"),
        (_without("subject"), "not a statement of Model Signing"),
        (
            {**payload_of_plain(), "predicate": {"resources": [{"digest": "xyz"}]}},
            "not a statement of Model Signing",
        ),
        (
            {**payload_of_plain(), "predicateType": "https://slsa.dev/provenance/v1"},
            "a statement of type 'https://slsa",
        ),
        ({**payload_of_plain(), "predicate": {"resources": []}}, "its digest does not match the files"),
    ],
)
def test_another_statement_by_the_same_key_is_refused(make_key, payload, message):
    signer, public = make_key()
    with pytest.raises(BadSignature, match=message):
        signed_by(signed_payload(signer, payload), public)


def test_files_that_differ_from_the_manifest_within_one_statement_are_refused(make_key):
    signer, public = make_key()
    payload = payload_of(sign_manifest(manifest(), signer))
    others = payload_of(sign_manifest(manifest({"model.safetensors": b"other"}), signer))
    payload["subject"], payload["predicate"]["resources"] = (
        others["subject"],
        others["predicate"]["resources"],
    )
    with pytest.raises(BadSignature, match="it signs other files"):
        check_signature(manifest(), signed_payload(signer, payload), public)


@pytest.mark.slow
def test_the_stock_tool_accepts_a_signed_folder_and_refuses_a_changed_one(tmp_path):
    private, public = new_key(tmp_path / "release")
    _, other = new_key(tmp_path / "other")
    folder = write(tmp_path / "minilm")
    signature = folder / "model.sig"
    signature.write_text(json.dumps(sign_manifest(manifest(), LocalSigner.read(private))))

    def verify(key=public):
        return model_signing("verify", "key", folder, "--signature", signature, "--public_key", key)

    done = verify()
    assert (done.returncode, "Verification succeeded" in done.stdout) == (0, True), done
    assert "Key mismatch" in verify(other).stderr
    (folder / "x/c.txt").write_bytes(b"changed")
    assert r"Hash mismatch for \'x/c.txt\'" in verify().stderr
    write(folder)
    (folder / "more.txt").touch()
    assert "Extra files found" in verify().stderr


@pytest.mark.slow
def test_a_signature_of_the_stock_tool_is_verified(tmp_path):
    private, public = new_key(tmp_path / "release")
    folder = write(tmp_path / "minilm")
    done = model_signing("sign", "key", folder, "--private_key", private, "--signature", folder / "model.sig")
    assert done.returncode == 0, done
    bundle = json.loads((folder / "model.sig").read_text())
    statement, own = signed_by(bundle, read_public_key(public)), payload_of_plain()
    del own["predicate"]["millstream"]
    for each in (statement, own):
        each["predicate"]["serialization"]["ignore_paths"].sort()
    assert statement == own
    with pytest.raises(BadSignature, match="it signs the files alone, not the version"):
        check_signature(manifest(), bundle, read_public_key(public))
