"""Whose cache is read: modes and owners on a real file system, as root and as other users."""

import grp
import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from encoder.errors import ConfigurationError
from encoder.user_cache import cache_folder, check_private, create_private, exposure

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="giving files to other users needs root")
OTHER = 54321


@pytest.fixture(autouse=True)
def _as_usual(monkeypatch):
    monkeypatch.delenv("MILLSTREAM_CACHE_CHECK", raising=False)


@pytest.fixture
def cache():
    """A cache that others can enter, with a model; under /tmp, since pytest's folders are closed."""
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        model = Path(scratch, "caches/millstream/models/abc")
        model.mkdir(parents=True)
        (model / "model.safetensors").touch()
        yield Path(scratch, "caches/millstream")


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere"
    monkeypatch.delenv("MILLSTREAM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder().name == "millstream"


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022])
def test_what_is_created_is_for_its_user_alone_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        create_private(tmp_path / "caches/millstream")
    finally:
        os.umask(before)
    for folder in (tmp_path / "caches", tmp_path / "caches/millstream"):
        assert folder.stat().st_mode & 0o777 == 0o700
    create_private(tmp_path / "caches/millstream")  # once more is no error


def test_a_cache_of_ones_own_is_read(cache):
    assert exposure(cache / "models/abc", cache) is None
    assert exposure(cache / "models/not there", cache) is None


@pytest.mark.parametrize(
    ("part", "mode", "mend"),
    [
        ("models/abc/model.safetensors", 0o646, "`rm -r {cache}/models`"),
        ("models/abc", 0o757, "`rm -r {cache}/models`"),
        ("models/abc", 0o1777, "`rm -r {cache}/models`"),
        ("models", 0o777, "`rm -r {cache}/models`"),
        (".", 0o777, "`rm -r {cache}`"),
        ("..", 0o777, "`chmod go-w {parent} && rm -rf {cache}`"),
    ],
)
def test_a_cache_that_everybody_can_write_to_is_refused(cache, part, mode, mend):
    path = cache.parent if part == ".." else cache / part
    path.chmod(mode)
    with pytest.raises(ConfigurationError) as refused:
        check_private(cache / "models/abc", cache)
    assert f"every user can write to {path}, and so decides what is loaded" in str(refused.value)
    command = mend.format(cache=cache, parent=cache.parent)
    assert f"run {command}" in str(refused.value)
    subprocess.run(command.strip("`"), shell=True, check=True)
    create_private(cache)
    check_private(cache / "models/abc", cache)  # the command has mended it


def test_the_sticky_bit_above_is_enough(cache):
    cache.parent.chmod(0o1777)
    assert exposure(cache / "models/abc", cache) is None


def test_a_folder_that_others_cannot_enter_protects_what_is_below(cache):
    """As with the umask 002: the cache is 0700, and what is created in it 0775."""
    for path in (cache / "models", cache / "models/abc", cache / "models/abc/model.safetensors"):
        path.chmod(0o777)
    cache.chmod(0o700)
    assert exposure(cache / "models/abc", cache) is None


def test_a_closed_folder_does_not_protect_what_a_link_in_it_leads_to(cache, tmp_path):
    (cache / "models").chmod(0o777)
    tmp_path.chmod(0o700)
    (tmp_path / "link").symlink_to(cache)
    assert "every user can write" in exposure(tmp_path / "link/models/abc", tmp_path / "link")
    (cache / "models").chmod(0o755)
    assert exposure(tmp_path / "link/models/abc", tmp_path / "link") is None
    beside = tmp_path / ".." / cache.parent
    (cache / "models").chmod(0o777)
    assert "every user can write" in exposure(beside / "millstream/models/abc", beside)


def test_nothing_is_below_a_file():
    assert exposure(Path("/dev/null/cache/kernels"), Path("/dev/null/cache")) is None


def test_links_in_a_circle_lead_nowhere(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert exposure(tmp_path / "a/models", tmp_path / "a") is None


@needs_root
@pytest.mark.parametrize("part", ["models/abc/model.safetensors", "models/abc", ".", ".."])
def test_what_another_user_owns_is_refused(cache, part):
    path = cache.parent if part == ".." else cache / part
    os.chown(path, OTHER, OTHER)
    found = exposure(cache / "models/abc", cache)
    assert f"{path.resolve()} belongs to user {OTHER}, not to root or root" in found.replace("/..", "")
    assert "set MILLSTREAM_CACHE to a folder of your own" in found


AS_A_USER = """
import os, sys
from pathlib import Path
uid, gid, cache = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
from encoder.user_cache import exposure
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
print(exposure(cache / "models/abc", cache))
"""


def _as_user(uid, gid, cache):
    done = subprocess.run(
        [sys.executable, "-c", AS_A_USER, str(uid), str(gid), str(cache)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _give(cache, uid, gid, mode):
    for path in (cache, *cache.rglob("*")):
        os.chown(path, uid, gid)
        path.chmod(mode)


@needs_root
def test_an_image_that_was_warmed_by_root_is_read_by_any_user(cache):
    assert _as_user(OTHER, 0, cache) == "None"


@needs_root
def test_any_user_id_in_the_group_of_root_is_how_openshift_runs_containers(cache):
    _give(cache, 0, 0, 0o775)
    assert _as_user(OTHER, 0, cache) == "None"


@needs_root
def test_a_volume_whose_group_is_the_users_alone_is_how_kubernetes_mounts_claims(cache):
    _give(cache, 0, OTHER, 0o2775)  # fsGroup
    assert _as_user(OTHER, OTHER, cache) == "None"
    assert f"other users of the group {OTHER} can write" in _as_user(OTHER + 1, OTHER, cache)


@needs_root
def test_a_volume_for_everybody_is_refused_until_its_owner_says_who_reaches_it(cache, monkeypatch):
    _give(cache, 0, OTHER, 0o2777)  # an emptyDir of Kubernetes
    assert "every user can write" in _as_user(OTHER, OTHER, cache)
    monkeypatch.setenv("MILLSTREAM_CACHE_CHECK", "skip")
    assert _as_user(OTHER, OTHER, cache) == "None"


@needs_root
def test_in_a_volume_for_everybody_a_folder_of_ones_own_is_a_cache_if_its_owner_says_so(cache, monkeypatch):
    _give(cache.parent, 0, OTHER, 0o2777)  # an emptyDir of Kubernetes, and the cache in it
    _give(cache, OTHER, OTHER, 0o2700)
    for path in (cache / "models", *(cache / "models").rglob("*")):
        _give(path, OTHER, OTHER, 0o700)
    assert f"every user can write to {cache.parent}" in _as_user(OTHER, OTHER, cache)
    monkeypatch.setenv("MILLSTREAM_CACHE_CHECK", "inside")
    assert _as_user(OTHER, OTHER, cache) == "None"
    _give(cache / "models", 777, 777, 0o755)
    assert "belongs to user 777" in _as_user(OTHER, OTHER, cache)
    _give(cache / "models", OTHER, OTHER, 0o777)
    _give(cache, OTHER, OTHER, 0o2777)
    assert f"every user can write to {cache}" in _as_user(OTHER, OTHER, cache)


def test_a_link_to_the_cache_does_not_hide_it_from_a_check_inside(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("MILLSTREAM_CACHE_CHECK", "inside")
    (tmp_path / "link").symlink_to(cache)
    assert exposure(tmp_path / "link/models", tmp_path / "link") is None
    (cache / "models").chmod(0o777)
    assert "every user can write" in exposure(tmp_path / "link/models", tmp_path / "link")


@needs_root
def test_a_server_that_makes_root_nobody_is_refused(cache):
    """An NFS server with root_squash gives what root creates to nobody."""
    nobody = pwd.getpwnam("nobody")
    _give(cache, nobody.pw_uid, nobody.pw_gid, 0o755)
    assert "belongs to nobody, not to root or root" in exposure(cache / "models/abc", cache)
    assert _as_user(nobody.pw_uid, nobody.pw_gid, cache) == "None"


@needs_root
def test_a_shared_group_is_refused_and_a_private_one_is_not(cache, monkeypatch):
    """The umask 002 is for systems on which every user has a group."""
    own = pwd.struct_passwd(("ann", "x", OTHER, 777, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: own)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    _give(cache, OTHER, 777, 0o775)
    for name, members, seen in (("ann", [], False), ("ann", ["bob"], True), ("staff", [], True)):
        group = grp.struct_group((name, "x", 777, members))
        monkeypatch.setattr(grp, "getgrgid", lambda _gid, group=group: group)
        assert bool(exposure(cache / "models/abc", cache)) == seen


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="access control lists are tested on Linux")
def test_an_access_control_list_is_no_private_group(cache):
    path = cache / "models"
    path.chmod(0o775)
    assert exposure(cache / "models/abc", cache) is None or os.geteuid() != 0
    entry = lambda tag, rights, who: (
        tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + who.to_bytes(4, "little")
    )
    nobody = 0xFFFFFFFF
    acl = (2).to_bytes(4, "little") + b"".join(
        (
            entry(1, 7, nobody),
            entry(2, 7, OTHER),
            entry(4, 5, nobody),
            entry(16, 7, nobody),
            entry(32, 5, nobody),
        )
    )
    try:
        os.setxattr(path, "system.posix_acl_access", acl)
    except OSError as error:
        pytest.skip(f"the file system has no access control lists: {error}")
    assert "other users of the group" in exposure(cache / "models/abc", cache)
