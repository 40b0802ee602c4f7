"""Keys in a PKCS#11 module, with SoftHSM."""

import subprocess
import sys

import pytest
from softhsm import PIN, softhsm

from encoder.errors import ConfigurationError
from encoder.store.signing.keys import open_signer
from encoder.store.signing.pkcs11 import Pkcs11Signer
from encoder.store.signing.public_keys import is_signed, normal_key


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    with softhsm(tmp_path_factory.mktemp("softhsm")) as token:
        token.new_key("release")
        token.new_key("twice", identity=b"\x02")
        token.new_key("twice", identity=b"\xff")
        token.new_key("wide", curve="secp384r1", identity=b"\x04")
        yield token


def test_a_key_in_a_module_signs(token):
    signer = open_signer(token.uri("release"))
    public = signer.public_key()
    assert normal_key(public, "release") == public
    for data in (b"", b"data", b"\x00" * 100_000):
        assert is_signed(data, signer.sign(data), public)
    assert not is_signed(b"other", signer.sign(b"data"), public)


def test_a_key_is_found_by_its_id(token):
    first, last = (Pkcs11Signer(token.uri(f"twice;id=%{identity}")) for identity in ("02", "FF"))
    assert first.public_key() != last.public_key()
    assert is_signed(b"data", last.sign(b"data"), last.public_key())
    with pytest.raises(ConfigurationError, match="several keys match, add id="):
        Pkcs11Signer(token.uri("twice"))


@pytest.mark.parametrize("way", ["file", "file-uri", "variable"])
def test_a_pin_can_stay_out_of_the_uri(token, tmp_path, monkeypatch, way):
    uri = token.uri("release").replace(f"&pin-value={PIN}", "")
    (tmp_path / "pin").write_text(f"{PIN}\n")
    if way == "variable":
        monkeypatch.setenv("MILLSTREAM_KEY_PASSWORD", PIN)
    else:
        uri += f"&pin-source={'file:' if way == 'file-uri' else ''}{tmp_path / 'pin'}"
    signer = Pkcs11Signer(uri)
    assert is_signed(b"data", signer.sign(b"data"), signer.public_key())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("object=release", "object=absent"), "the token has no private key of this name"),
        (("object=release", "object=wide"), "on the curve secp384r1: use ECDSA on P-256"),
        (
            ("token=millstream", "token=other"),
            "cannot use the key pkcs11:token=other;object=release: NoSuchToken",
        ),
        ((f"pin-value={PIN}", "pin-value=654321"), "cannot use the key .*: PinIncorrect"),
        (
            (f"&pin-value={PIN}", ""),
            "no private key of this name, .*; tokens show private keys to those who give",
        ),
        ((f"pin-value={PIN}", "pin-source=/absent"), "cannot read the PIN of .* in /absent"),
        ((";object=release", ""), "the URI pkcs11:token=millstream names no key"),
        (("module-path=", "module-path=/absent"), "cannot load the PKCS#11 module /absent/"),
        (("?module-path=", "?pin-value="), "names no module: write pkcs11:token=TOKEN"),
        (
            ("object=", "objekt="),
            "has the attribute 'objekt': it must be one of token, serial, object, id, type",
        ),
        (("token=millstream", "module-path=x"), "has the attribute 'module-path'"),
    ],
)
def test_a_key_that_cannot_be_used_says_why_and_shows_no_pin(token, change, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        Pkcs11Signer(token.uri("release").replace(*change, 1))
    assert PIN not in str(caught.value)


def test_without_python_pkcs11_the_extra_is_named():
    code = (
        "import sys; sys.modules['pkcs11'] = None\n"
        "from encoder.errors import MissingExtra\n"
        "from encoder.store.signing.keys import open_signer\n"
        "try:\n    open_signer('pkcs11:object=x')\nexcept MissingExtra as error:\n    print(error)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip().endswith("is not installed: pip install 'millstream[pkcs11]'")
