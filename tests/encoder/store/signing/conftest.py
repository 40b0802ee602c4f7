import pytest

from encoder.store.signing.keys import LocalSigner, new_key


@pytest.fixture
def make_key(tmp_path):
    """Make a key pair by its name; the signer and the public key's PEM."""

    def make(name="release"):
        private, _ = new_key(tmp_path / name)
        signer = LocalSigner.read(private)
        return signer, signer.public_key()

    return make
