"""Where a distilled model goes."""

import pytest

from encoder.errors import ConfigurationError
from encoder.store.signing.bundle import check_signature
from encoder.store.signing.keys import new_key
from encoder.store.signing.public_keys import read_public_key
from encoder.store.store import ModelStore
from pipelines.cli.distill.target import TargetOptions
from pipelines.cli.signing import SigningOptions


@pytest.fixture
def key(tmp_path, monkeypatch):
    for name in ("MILLSTREAM_TRUST", "MILLSTREAM_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)
    return new_key(tmp_path / "release")


def test_a_version_is_signed_as_the_options_say(tmp_path, model, key):
    private, public = key
    signing = SigningOptions(sign=[str(private)], expires="90d")
    options = TargetOptions(store=str(tmp_path / "store"), name="tiny", output=None, signing=signing)
    target = options.check(store_is_given=True)
    assert target._publish(model, "a teacher", {}, None)["version"] == 1
    manifest = ModelStore.open(target.uri, trust=public).manifest()
    [bundle] = manifest.signatures
    check_signature(manifest, bundle, read_public_key(public))
    assert (manifest.expires_at - manifest.created_at).days == 90


@pytest.mark.parametrize("given", [{"sign": ["release.key"]}, {"expires": "90d"}])
def test_a_folder_has_no_signature(tmp_path, given):
    signing = SigningOptions(**{"sign": None, "expires": None, **given})
    options = TargetOptions(store=None, name=None, output=tmp_path / "new", signing=signing)
    with pytest.raises(ConfigurationError, match="this writes a folder: publish it, or sign it when you run"):
        options.check(store_is_given=False)


@pytest.mark.usefixtures("key")
def test_a_key_in_the_environment_hinders_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_SIGNING_KEY", str(tmp_path / "release.key"))
    signing = SigningOptions(sign=None, expires=None)
    options = TargetOptions(store=None, name=None, output=tmp_path / "new", signing=signing)
    assert options.check(store_is_given=False).output == tmp_path / "new"
