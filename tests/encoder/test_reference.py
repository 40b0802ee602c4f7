"""Model references."""

from pathlib import Path

import pytest

from encoder.errors import InvalidReference
from encoder.reference import Reference, parse, store_uri

DIGEST = "sha256:" + "0123456789ab" * 5 + "cdef"
HERE = Path.cwd()


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("./models/minilm", Reference("folder", "./models/minilm")),
        ("models", Reference("folder", "models")),
        ("/srv/models/minilm/", Reference("folder", "/srv/models/minilm/")),
        ("  models ", Reference("folder", "models")),
        ("s3://bucket/models/minilm", Reference("store", "s3://bucket/models/minilm")),
        ("s3://bucket/models/minilm/", Reference("store", "s3://bucket/models/minilm")),
        ("s3://bucket/models/minilm@7", Reference("store", "s3://bucket/models/minilm", 7)),
        ("gs://bucket/m@latest", Reference("store", "gs://bucket/m", "latest")),
        ("az://c/m@12345678", Reference("store", "az://c/m", 12_345_678)),
        (f"memory://m@{DIGEST}", Reference("store", "memory://m", DIGEST)),
        ("memory://m@sha256:0123456789ab", Reference("store", "memory://m", "sha256:0123456789ab")),
        ("file:///srv/models/minilm@3", Reference("store", "file:///srv/models/minilm", 3)),
        ("/srv/store/minilm@latest", Reference("store", "file:///srv/store/minilm", "latest")),
        ("./store/minilm@2", Reference("store", (HERE / "store/minilm").as_uri(), 2)),
        ("s3://user@host/models/minilm", Reference("store", "s3://user@host/models/minilm")),
        ("./mails/me@work/model", Reference("folder", "./mails/me@work/model")),
        ("./folder/me@work", Reference("folder", "./folder/me@work")),
    ],
)
def test_references_are_read(ref, expected):
    assert parse(ref) == expected


@pytest.mark.parametrize(
    ("ref", "part"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("ftp://host/m", "unknown scheme in 'ftp://host/m'"),
        ("https://host/m@7", "unknown scheme"),
        ("s3://bucket/m@0", "the selector of"),
        ("s3://bucket/m@-1", "the selector of"),
        ("s3://bucket/m@7.5", "the selector of"),
        ("s3://bucket/m@newest", "the selector of"),
        ("s3://bucket/m@sha256:0123456789a", "the selector of"),
        ("s3://bucket/m@sha256:0123456789AB", "the selector of"),
        (f"s3://bucket/m@{DIGEST}0", "the selector of"),
        ("s3://bucket/m@", "the selector of"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(ref, part):
    with pytest.raises(InvalidReference, match=part) as caught:
        parse(ref)
    assert "\n" not in str(caught.value)


def test_a_mistaken_selector_of_a_store_in_a_folder_is_no_name_of_a_folder(tmp_path):
    (tmp_path / "minilm/v").mkdir(parents=True)
    with pytest.raises(InvalidReference, match=r"minilm@newest' is invalid: use @latest, @7"):
        parse(f"{tmp_path}/minilm@newest")
    (tmp_path / "minilm@work").mkdir()
    assert parse(f"{tmp_path}/minilm@work") == Reference("folder", f"{tmp_path}/minilm@work")


def test_a_folder_that_holds_versions_is_a_store(tmp_path):
    (tmp_path / "my store" / "v").mkdir(parents=True)
    assert parse(str(tmp_path / "my store")) == Reference("store", (tmp_path / "my store").as_uri(), "latest")


def test_a_home_folder_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store_uri("~/store") == (tmp_path / "store").as_uri()


@pytest.mark.parametrize("uri", ["memory://", "file:///"])
def test_a_bare_root_keeps_its_slashes(uri):
    assert store_uri(uri).startswith(uri.rstrip("/"))
    assert parse(f"{uri}@3").selector == 3


@pytest.mark.parametrize(
    "ref", ["models/minilm", "s3://b/m@7", "s3://b/m@latest", "memory://m@sha256:0123456789ab"]
)
def test_a_reference_is_written_as_it_was_read(ref):
    assert str(parse(ref)) == ref
    assert parse(str(parse(ref))) == parse(ref)
