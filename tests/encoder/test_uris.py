"""Every scheme names the same place for models, inputs and outputs."""

import pytest

from encoder.errors import ConfigurationError, InvalidReference
from encoder.reference import parse
from encoder.store.objects import open_objects
from encoder.uris import SCHEMES, Location, locate_uri, split_query
from pipelines.beam.backfill.plan import check_apart
from pipelines.sinks.parquet import ParquetParts
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import locate


@pytest.fixture(autouse=True)
def account(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("s3://bucket/a/b", Location("s3", "bucket", "a/b")),
        ("gs://bucket/a/b", Location("gs", "bucket", "a/b")),
        ("gcs://bucket/a/b", Location("gs", "bucket", "a/b")),
        ("gs://anonymous@bucket/a", Location("gs", "bucket", "a", anonymous=True)),
        ("az://bucket/a/b", Location("az", "bucket", "a/b", "account")),
        ("abfs://bucket/a/b", Location("az", "bucket", "a/b", "account")),
        ("abfss://bucket@other.dfs.core.windows.net/a/b", Location("az", "bucket", "a/b", "other")),
        ("memory://bucket/a/b", Location("memory", "bucket", "a/b")),
        ("file:///srv/a%20b", Location("file", "", "/srv/a b")),
        ("s3://bucket/a%20b", Location("s3", "bucket", "a b")),
        ("az://bucket/a%25b", Location("az", "bucket", "a%b", "account")),
        ("/srv/a%20b", Location("file", "", "/srv/a%20b")),
    ],
)
def test_a_uri_says_where(uri, location):
    assert locate_uri(uri) == location


USES = {
    "models": lambda uri: parse(f"{uri}@7").selector == 7 and open_objects(parse(f"{uri}@7").location),
    "outputs": ParquetParts,
    "inputs": lambda uri: locate(f"{uri}?region=eu-west-1" if uri.startswith("s3://b") else uri),
}


def root(scheme):
    return f"{scheme}:///srv/folder" if scheme == "file" else f"{scheme}://bucket/folder"


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_models_inputs_and_outputs_take_the_same_schemes(use, scheme):
    if (use, scheme) == ("inputs", "memory"):
        with pytest.raises(InvalidReference, match="memory:// is for models and outputs"):
            locate(root(scheme))
    else:
        assert USES[use](root(scheme))


@pytest.mark.parametrize("use", USES)
def test_an_unknown_scheme_is_refused_with_those_that_are_known(use):
    with pytest.raises(InvalidReference, match="unknown scheme in 'ftp://host/x'") as refused:
        USES[use]("ftp://host/x")
    assert all(f"{known}://" in str(refused.value) for known in SCHEMES)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://AKIAEXAMPLE:hunter2@bucket/x", "AWS_SECRET_ACCESS_KEY"),
        ("gs://hunter2@bucket/x", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("abfss://c:hunter2@account.dfs.core.windows.net/x", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("az://hunter2@bucket/x", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("s3:///x", "names no bucket: write s3://bucket/folder"),
        ("file://host/x", "write file:///path with three slashes"),
    ],
)
def test_a_wrong_uri_is_refused_the_same_way_and_without_its_secret(use, uri, message):
    with pytest.raises(InvalidReference, match=message) as refused:
        USES[use](uri)
    assert "hunter2" not in str(refused.value)


def test_options_are_for_inputs():
    with pytest.raises(InvalidReference, match="only inputs take options such as \\?region=eu"):
        ParquetParts("s3://bucket/x?region=eu")


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("s3://b/x?region=eu", ("s3://b/x", "?region=eu")),
        ("s3://b/x?.log", ("s3://b/x?.log", "")),
        ("s3://b/?.log?scheme=http&region=x", ("s3://b/?.log", "?scheme=http&region=x")),
        ("/tmp/x?a=b", ("/tmp/x?a=b", "")),
    ],
)
def test_a_query_is_not_taken_for_a_wildcard(uri, parts):
    assert split_query(uri) == parts


@pytest.mark.parametrize(
    ("pattern", "output"),
    [
        ("gcs://bucket/in/**", "gs://bucket/in/out"),
        ("abfss://bucket@account.dfs.core.windows.net/in", "az://bucket/in/out"),
        ("s3://bucket/in?region=eu", "s3://bucket/in/out"),
    ],
)
def test_one_folder_under_two_names_is_not_both_input_and_output(pattern, output):
    with pytest.raises(ConfigurationError, match="is inside the input"):
        check_apart(pattern, [], output)
    other = output.replace("bucket", "other")
    check_apart(pattern, [InputFile(f"{pattern}/x.jsonl", 1, "jsonl", None)], other)


def test_links_to_a_folder_are_not_both_input_and_output(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "way").symlink_to("in")
    with pytest.raises(ConfigurationError, match="is inside the input"):
        check_apart(f"{tmp_path}/in", [], f"{tmp_path}/way/out")
    check_apart(f"{tmp_path}/in", [], f"{tmp_path}/out")
