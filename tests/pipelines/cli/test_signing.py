"""`--sign` and `--expires`, whatever publishes."""

from datetime import timedelta

import pytest

from encoder.errors import ConfigurationError
from encoder.store.signing.keys import new_key
from encoder.store.signing.public_keys import read_public_key
from pipelines.cli.signing import Signing, SigningOptions


@pytest.fixture
def keys(tmp_path, monkeypatch):
    monkeypatch.delenv("MILLSTREAM_SIGNING_KEY", raising=False)
    return [new_key(tmp_path / name) for name in ("release", "next")]


def signers(sign=None):
    return [signer.public_key() for signer in SigningOptions(sign=sign, expires=None).open().signers]


@pytest.mark.usefixtures("keys")
def test_without_a_key_nothing_is_signed():
    assert SigningOptions(sign=None, expires=None).open() == Signing()


def test_several_keys_sign(keys):
    assert signers([str(private) for private, _ in keys]) == [read_public_key(public) for _, public in keys]


@pytest.mark.parametrize("form", ["{}", "@{}", "text"])
def test_the_key_may_come_from_the_environment(keys, monkeypatch, form):
    private, public = keys[0]
    monkeypatch.setenv(
        "MILLSTREAM_SIGNING_KEY", private.read_text() if form == "text" else form.format(private)
    )
    assert signers() == [read_public_key(public)]
    assert signers([str(keys[1][0])]) == [read_public_key(keys[1][1])]


@pytest.mark.usefixtures("keys")
def test_an_expiry_is_a_duration():
    assert SigningOptions(sign=None, expires="90d").open().expires == timedelta(days=90)
    assert SigningOptions(sign=None, expires="1.5h").open().options == {
        "signer": (),
        "expires": timedelta(hours=1.5),
    }
    for wrong in ("soon", "0d", "-1d"):
        with pytest.raises(ConfigurationError, match="--expires"):
            SigningOptions(sign=None, expires=wrong).open()


def test_a_head_in_a_folder_has_no_signature(model, tmp_path, millstream):
    (tmp_path / "in.jsonl").write_text('{"text": "card"}\n')
    fit = ("head", "fit", "novelty", "--model", model, "--name", "odd", "--input", tmp_path / "in.jsonl")
    ended = millstream(*fit, "--output", tmp_path / "new", "--sign", "release.key")
    assert (ended.code, "--sign and --expires are of versions in a store" in ended.error) == (2, True)
