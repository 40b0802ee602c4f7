"""AWS profiles for models and outputs, as inputs read them."""

import sys

import pytest

from encoder.errors import ConfigurationError, MissingExtra
from encoder.store.aws_profile import profile_credentials
from encoder.store.objects import open_objects
from pipelines.sources.files.filesystem import locate

VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")


@pytest.fixture
def profiles(tmp_path, monkeypatch):
    """Write files with profiles; nothing else gives credentials."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    credentials, config = tmp_path / "credentials", tmp_path / "config"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))

    def write(**keys):
        lines = ["[profile fraud]", "region = eu-west-1", "[default]"]
        config.write_text("\n".join(lines), "utf-8")
        keys = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "secret", **keys}
        section = "\n".join(f"{key} = {value}" for key, value in keys.items())
        credentials.write_text(f"[fraud]\n{section}\n", "utf-8")

    return write


def test_keys_in_the_environment_go_first(profiles, monkeypatch):
    profiles()
    monkeypatch.setenv("AWS_PROFILE", "fraud")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    assert profile_credentials() is None


@pytest.mark.usefixtures("profiles")
def test_without_profiles_the_machine_gives_credentials():
    assert profile_credentials() is None


def test_a_profile_gives_its_keys_and_its_region(profiles, monkeypatch):
    profiles(aws_session_token="token")
    assert profile_credentials() is None, "the default profile has none"
    monkeypatch.setenv("AWS_PROFILE", "fraud")
    found = profile_credentials()
    assert found.config == {"region": "eu-west-1"}
    assert found()["access_key_id"] == "AKIAEXAMPLE"
    assert found()["token"] == "token"


def test_a_profile_that_does_not_exist_is_named(profiles, monkeypatch):
    profiles()
    monkeypatch.setenv("AWS_PROFILE", "frauds")
    with pytest.raises(ConfigurationError, match=r"the profile 'frauds' of AWS_PROFILE gives no credentials"):
        open_objects("s3://bucket/models")


def test_without_boto3_the_extra_is_named(profiles, monkeypatch):
    profiles()
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "obstore.auth.boto3", raising=False)
    assert profile_credentials() is None, "nobody asked for a profile"
    monkeypatch.setenv("AWS_PROFILE", "fraud")
    with pytest.raises(MissingExtra, match=r"boto3, .* is not installed: pip install 'millstream\[aws\]'"):
        open_objects("s3://bucket/models")


@pytest.mark.server
def test_models_outputs_and_inputs_log_in_with_a_profile(s3_environment, profiles, monkeypatch):
    known = s3_environment.environment
    profiles(
        aws_access_key_id=known["AWS_ACCESS_KEY_ID"], aws_secret_access_key=known["AWS_SECRET_ACCESS_KEY"]
    )
    monkeypatch.setenv("AWS_PROFILE", "fraud")
    assert open_objects(f"s3://{s3_environment.bucket}/pro%20file").create("a b.txt", b"data")
    filesystem, inside = locate(f"s3://{s3_environment.bucket}/pro%20file/a%20b.txt")
    assert inside == f"{s3_environment.bucket}/pro file/a b.txt"
    with filesystem.open_input_file(inside) as file:
        assert file.read() == b"data"
