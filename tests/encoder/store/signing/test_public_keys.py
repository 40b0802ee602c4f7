import base64
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from encoder.errors import ConfigurationError
from encoder.store.signing.public_keys import is_signed, key_id, normal_key

PEM, SPKI = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        ("hello", "is not a public key in PEM"),
        (
            ec.generate_private_key(ec.SECP521R1())
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
            "on the curve secp521r1",
        ),
    ],
)
def test_what_is_no_public_key_of_this_kind_is_refused(pem, message):
    with pytest.raises(ConfigurationError, match=f"ops.pub .*{message}"):
        normal_key(pem, "ops.pub")


def test_one_key_has_one_id_whatever_stands_around_it(make_key):
    _, public = make_key()
    dressed = b"# the key of the release team\r\n" + public.replace(b"\n", b"\r\n")
    assert key_id(normal_key(dressed, "ops.pub")) == key_id(public)


def test_the_usual_form_is_the_one_that_cryptography_writes(make_key):
    signer, public = make_key()
    assert normal_key(public, "ops.pub") == public
    key = serialization.load_pem_public_key(public)
    assert key.public_bytes(PEM, SPKI) == public
    assert is_signed(b"data", signer.sign(b"data"), public)
    assert not is_signed(b"other", signer.sign(b"data"), public)


def test_a_compressed_point_is_the_same_key(make_key):
    _, public = make_key()
    key = serialization.load_pem_public_key(public)
    point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    head = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    text = base64.encodebytes(head + point).decode()
    assert normal_key(f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n", "ops.pub") == public


def test_a_point_that_is_not_on_the_curve_is_no_key(make_key):
    _, public = make_key()
    der = bytearray(base64.b64decode(b"".join(public.splitlines()[1:-1])))
    der[-1] ^= 1
    text = base64.encodebytes(der).decode()
    with pytest.raises(ConfigurationError, match=r"ops.pub is not a public key in PEM"):
        normal_key(f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n", "ops.pub")


def test_what_verifies_imports_no_readers_of_other_keys(make_key, tmp_path):
    """They take longer to import than all else that a load with trust adds."""
    make_key()
    code = (
        "import sys\n"
        "from encoder.store.signing.trust import Trust\n"
        f"assert Trust.of({str(tmp_path / 'release.pub')!r})\n"
        "print('cryptography.hazmat.primitives.serialization' in sys.modules)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "False\n"
