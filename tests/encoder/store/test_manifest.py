import hashlib
import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.errors import CorruptVersion, InvalidReference
from encoder.store.manifest import (
    File,
    Manifest,
    check_name,
    decode,
    digest_of,
    encode,
    key_of,
    number_of,
)

FILE = File("model.safetensors", "ab" * 32, 10)
KEY = "s3://bucket/models/minilm/v/00000007.json"


def manifest(**changes):
    fields = {
        "format": 1,
        "name": "minilm",
        "version": 7,
        "digest": digest_of(changes.get("files", (FILE,))),
        "files": (FILE,),
        "teacher": "all-MiniLM-L6-v2",
        "parameters": {"dim": 256, "text": "{a}"},
        "quality": {"sts": 0.8},
        "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "write_id": "w1",
        "rolls_back_to": None,
        "created_by": "millstream 0.1.0",
    }
    return Manifest(**{**fields, **changes})


def as_json(**changes):
    return json.dumps({**json.loads(encode(manifest())), **changes}).encode()


def test_a_manifest_reads_back_as_it_was_written():
    assert decode(encode(manifest()), KEY) == manifest()


def test_format_1_is_written_without_the_fields_of_format_2():
    older = {"format", "name", "version", "digest", "files", "teacher", "parameters", "quality", "created_at"}
    older |= {"write_id", "rolls_back_to", "created_by"}
    assert json.loads(encode(manifest())).keys() == older


def test_a_signed_manifest_reads_back_as_it_was_written():
    signed = manifest(
        format=2,
        previous="cd" * 32,
        expires_at=datetime(2027, 1, 2, tzinfo=UTC),
        signatures=({"mediaType": "x", "list": [1, 1.5, None]},),
    )
    assert decode(encode(signed), KEY) == signed


def test_a_manifest_that_is_nested_too_deep_is_refused():
    with pytest.raises(CorruptVersion, match="is not a manifest"):
        decode(b'{"format": ' + b"[" * 100_000, KEY)


def test_the_time_is_rfc_3339_in_utc():
    assert json.loads(encode(manifest()))["created_at"] == "2026-01-02T03:04:05Z"


def test_the_digest_is_the_hash_of_the_canonical_json_of_the_sorted_files():
    other = File("config.json", "cd" * 32, 2)
    canonical = (
        f'[{{"path":"config.json","sha256":"{"cd" * 32}","size":2}},'
        f'{{"path":"model.safetensors","sha256":"{"ab" * 32}","size":10}}]'
    )
    assert digest_of([FILE, other]) == "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
    assert digest_of([other, FILE]) == digest_of([FILE, other])


@given(number=st.integers(1, 99_999_999))
def test_keys_and_numbers_are_two_names_of_one_thing(number):
    assert number_of(key_of(number)) == number
    assert number_of(f"s3://b/{key_of(number)}") == number


@pytest.mark.parametrize("key", ["v/7.json", "v/00000007.json#1", "v/00000007.txt", "xv/00000007.json", "v/"])
def test_other_names_in_v_are_no_versions(key):
    assert number_of(key) is None


def files(*entries):
    return [{"path": path, "sha256": sha, "size": size} for path, sha, size in entries]


SHA = "ab" * 32


@pytest.mark.parametrize(
    "changes",
    [
        {"files": files(("../x", SHA, 1))},
        {"files": files(("/etc/passwd", SHA, 1))},
        {"files": files(("a/../../x", SHA, 1))},
        {"files": files(("a\\..\\x", SHA, 1))},
        {"files": files(("C:/x", SHA, 1))},
        {"files": files(("a\x00b", SHA, 1))},
        {"files": files(("", SHA, 1))},
        {"files": files(("a//b", SHA, 1))},
        {"files": files(("a", SHA, 1), ("a", SHA, 1))},
        {"files": files(("a", SHA, 1), ("a/b", SHA, 1))},
        {"files": files(("a", "AB" * 32, 1))},
        {"files": files(("a", SHA[:-1], 1))},
        {"files": files(("a", SHA + "\n", 1))},
        {"files": files(("a", SHA, -1))},
        {"files": []},
        {"version": 8},
        {"version": 0},
        {"version": "7"},
        {"format": 4},
        {"format": 2, "masks": ["ip"]},
        {"format": 3, "masks": "ip"},
        {"format": 0},
        {"previous": "ab" * 32},
        {"expires_at": "2026-01-02T03:04:05Z"},
        {"signatures": [{}]},
        {"format": 2, "previous": "ab"},
        {"format": 2, "expires_at": "2026-01-02T03:04:05"},
        {"format": 2, "signatures": ["x"]},
        {"format": 2, "surprise": 1},
        {"format": "1"},
        {"digest": "sha256:" + "00" * 32},
        {"digest": SHA},
        {"created_at": "2026-01-02T03:04:05"},
        {"created_at": "yesterday"},
        {"rolls_back_to": 0},
        {"surprise": 1},
        {"write_id": ""},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_bad_manifest_is_refused_by_its_key(changes):
    if "files" in changes:
        listed = [msgspec.convert(entry, File) for entry in changes["files"] if is_valid_file(entry)]
        changes = {"digest": digest_of(listed), **changes}
    with pytest.raises(CorruptVersion, match=r"^s3://bucket/models/minilm/v/00000007\.json "):
        decode(as_json(**changes), KEY)


def is_valid_file(entry):
    try:
        msgspec.convert(entry, File)
    except msgspec.ValidationError:
        return False
    return True


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_refused(data):
    with pytest.raises(CorruptVersion):
        decode(data, KEY)


@given(cut=st.integers(0, len(encode(manifest())) - 3))
def test_a_torn_manifest_is_refused(cut):
    with pytest.raises(CorruptVersion):
        decode(encode(manifest())[:cut], KEY)


def test_a_newer_format_asks_for_an_upgrade():
    with pytest.raises(CorruptVersion, match="upgrade Millstream"):
        decode(as_json(format=4, surprise=True), KEY)


@pytest.mark.parametrize("name", ["", "a/b", "a b", ".hidden", "é", "a@1", "x" * 101, "a\n"])
def test_names_that_no_uri_could_hold_are_refused(name):
    with pytest.raises(InvalidReference, match="not a model name"):
        check_name(name)
