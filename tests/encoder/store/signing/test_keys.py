import os
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from encoder.errors import ConfigurationError, MissingExtra, OutputConflict
from encoder.store.signing.keys import LocalSigner, new_key, open_signer
from encoder.store.signing.public_keys import is_signed, read_public_key


def pem_of(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def private_file(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_new_key_signs_and_its_public_half_verifies(tmp_path):
    private, public = new_key(tmp_path / "release")
    assert (private.name, public.name) == ("release.key", "release.pub")
    signer = LocalSigner.read(private)
    assert read_public_key(public) == signer.public_key()
    signature = signer.sign(b"data")
    assert is_signed(b"data", signature, signer.public_key())
    assert not is_signed(b"other", signature, signer.public_key())
    assert not is_signed(b"data", b"no signature", signer.public_key())


def test_openssl_reads_the_keys(tmp_path):
    private, public = new_key(tmp_path / "release")
    derived = subprocess.run(
        ["openssl", "pkey", "-in", private, "-pubout"], capture_output=True, check=True
    ).stdout
    assert derived == public.read_bytes()


def test_its_owner_alone_can_read_a_private_key_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        private, _ = new_key(tmp_path / "release")
    finally:
        os.umask(before)
    assert private.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["key", "pub"])
def test_a_key_is_never_overwritten(tmp_path, kind):
    there = tmp_path / f"release.{kind}"
    there.write_text("mine")
    with pytest.raises(OutputConflict, match=f"release.{kind} already exists"):
        new_key(tmp_path / "release")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_key_in_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match=r"cannot write .*release.*: No such file or directory"):
        new_key(tmp_path / "absent" / "release")


@pytest.mark.parametrize("by_file", [False, True])
def test_a_password_encrypts_a_key(tmp_path, monkeypatch, by_file):
    (tmp_path / "password").write_text("correct horse\n")
    password = f"@{tmp_path / 'password'}" if by_file else "correct horse"
    monkeypatch.setenv("MILLSTREAM_KEY_PASSWORD", password)
    private, public = new_key(tmp_path / "release")
    assert b"ENCRYPTED" in private.read_bytes()
    assert LocalSigner.read(private).public_key() == read_public_key(public)
    monkeypatch.setenv("MILLSTREAM_KEY_PASSWORD", "wrong")
    with pytest.raises(ConfigurationError, match="password in MILLSTREAM_KEY_PASSWORD is wrong"):
        LocalSigner.read(private)
    monkeypatch.delenv("MILLSTREAM_KEY_PASSWORD")
    with pytest.raises(ConfigurationError, match=r"release.key is encrypted: set MILLSTREAM_KEY_PASSWORD"):
        LocalSigner.read(private)


def test_a_password_for_another_key_does_not_hinder_one_without(tmp_path, monkeypatch):
    private, _ = new_key(tmp_path / "release")
    monkeypatch.setenv("MILLSTREAM_KEY_PASSWORD", "for another key")
    LocalSigner.read(private)


def test_an_empty_password_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "password").touch()
    monkeypatch.setenv("MILLSTREAM_KEY_PASSWORD", f"@{tmp_path / 'password'}")
    with pytest.raises(ConfigurationError, match="MILLSTREAM_KEY_PASSWORD names is empty"):
        new_key(tmp_path / "release")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o660, 0o602])
def test_a_key_that_others_may_read_or_change_is_refused(tmp_path, mode):
    private, _ = new_key(tmp_path / "release")
    private.chmod(mode)
    with pytest.raises(ConfigurationError, match=rf"mode {mode:o}\): chmod 600 .*release.key"):
        LocalSigner.read(private)


def test_a_key_that_its_group_may_read_is_taken_because_kubernetes_mounts_it_so(tmp_path):
    private, _ = new_key(tmp_path / "release")
    private.chmod(0o440)
    LocalSigner.read(private)


WRONG_KEYS = {
    "another curve": (lambda: pem_of(ec.generate_private_key(ec.SECP384R1())), "on the curve secp384r1"),
    "another kind": (lambda: pem_of(ed25519.Ed25519PrivateKey.generate()), "of another kind"),
    "no key": (lambda: "hello", "is not a private key in PEM: make one with `millstream keys new NAME`"),
    "half a key": (lambda: pem_of(ec.generate_private_key(ec.SECP256R1()))[:90], "is not a private key"),
}


@pytest.mark.parametrize("case", WRONG_KEYS)
def test_what_is_no_private_key_of_this_kind_is_refused(tmp_path, case):
    make, message = WRONG_KEYS[case]
    path = private_file(tmp_path / "other.key", make())
    with pytest.raises(ConfigurationError, match=message):
        LocalSigner.read(path)


def test_private_and_public_keys_are_not_taken_for_each_other(tmp_path):
    private, public = new_key(tmp_path / "release")
    public.chmod(0o600)
    with pytest.raises(ConfigurationError, match="is a public key: sign with the private one"):
        LocalSigner.read(public)
    with pytest.raises(ConfigurationError, match="is a private key: trust the public one"):
        read_public_key(private)


@pytest.mark.parametrize("read", [LocalSigner.read, read_public_key, open_signer])
def test_a_file_that_cannot_be_read_is_named(tmp_path, read):
    with pytest.raises(ConfigurationError, match=r"absent: No such file or directory"):
        read(str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match="it is not a file"):
        read(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="pipe: it is not a file"):
        read(str(tmp_path / "pipe"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="binary: it is not a text file"):
        read(str(tmp_path / "binary"))


def test_a_signer_is_named_by_a_path_a_text_or_a_file_that_holds_one_of_these(tmp_path):
    private, public = new_key(tmp_path / "release")
    named = private_file(tmp_path / "named", f"{private}\n")
    for key in (str(private), private.read_text(), f"@{private}", f"@{named}"):
        assert open_signer(key).public_key() == read_public_key(public)


def test_a_key_file_behind_an_at_sign_must_be_private_too(tmp_path):
    private, _ = new_key(tmp_path / "release")
    private.chmod(0o644)
    with pytest.raises(ConfigurationError, match="others may read"):
        open_signer(f"@{private}")


def test_without_cryptography_the_extra_is_named():
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "import encoder.store.signing.bundle\n"
        "from encoder.errors import MissingExtra\n"
        "try:\n    import encoder.store.signing.keys\n"
        "except MissingExtra as error:\n    print(error)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip().endswith("is not installed: pip install 'millstream[signing]'")
    assert issubclass(MissingExtra, ConfigurationError)


def test_a_public_key_is_no_private_key_whatever_its_mode(tmp_path):
    _, public = new_key(tmp_path / "release")
    public.chmod(0o644)
    with pytest.raises(ConfigurationError, match=r"release.pub is a public key: sign with the private one"):
        LocalSigner.read(public)
