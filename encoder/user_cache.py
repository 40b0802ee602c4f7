"""The folder for files of this user that can be created again, and who else can change them.

Whoever writes to the cache owns the process that reads it: models decide what it computes, and compiled
kernels are pickles, which run code as they are loaded. So the cache is created for its user alone, and
nothing is read from a folder that anyone but this user and root can change.
"""

import grp
import os
import pwd
import re
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from encoder.errors import ConfigurationError

__all__ = ["SIZE_VARIABLE", "cache_folder", "cache_size", "check_private", "create_private", "exposure"]

DEFAULT_SIZE = "2GB"
SIZE_VARIABLE = "MILLSTREAM_CACHE_SIZE"
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(?:([KMGT])(i?)B?|B)?", re.IGNORECASE)
_OTHERS, _GROUP, _ENTER = stat.S_IWOTH, stat.S_IWGRP, stat.S_IXGRP | stat.S_IXOTH
_ACL = "system.posix_acl_access"


def cache_folder() -> Path:
    """`MILLSTREAM_CACHE`, or else `millstream` in the system's cache folder."""
    override = os.environ.get("MILLSTREAM_CACHE")
    return Path(override).expanduser() if override else user_cache_path("millstream", appauthor=False)


def cache_size(text: str | None = None) -> int:
    """The bytes that versions of models may take, by default `MILLSTREAM_CACHE_SIZE`, or else 2GB.

    Args:
        text: a number of bytes, or a number with a unit, such as 500MB or 2GiB.

    Raises:
        ConfigurationError: it is neither.
    """
    text = text or os.environ.get(SIZE_VARIABLE) or DEFAULT_SIZE
    if not (match := _SIZE.fullmatch(text.strip())):
        raise ConfigurationError(
            f"cannot read the size {text!r} of the cache: write a number of bytes, or a number with a unit, "
            "such as 500MB or 2GiB"
        )
    number, prefix, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** (" KMGT".index((prefix or " ").upper())))


def create_private(folder: Path) -> None:
    """Create a folder, and those above it that are missing, for this user alone.

    Raises:
        OSError: it cannot be created.
    """
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def check_private(folder: Path, root: Path) -> None:
    """Refuse a folder of the cache that others can change.

    Args:
        folder: a folder of the cache, with everything in it; it need not exist.
        root: the cache.

    Raises:
        ConfigurationError: others can change it; the message has the command that mends it.
    """
    if found := exposure(folder, root):
        raise ConfigurationError(found)


def exposure(folder: Path, root: Path, variable: str = "MILLSTREAM_CACHE") -> str | None:
    """Who else can change what lies in a folder, and the command that mends it; None if nobody can.

    Everything in the folder and every folder above it must belong to this user or to root, and others must
    not have write permission. Above the folder, the sticky bit is enough (`/tmp`). The group may write if
    this user is alone in it, as with the umask 002, or if it is root's, as in containers with any user id.
    `MILLSTREAM_CACHE_CHECK=inside` leaves out the folders above the cache, and `skip` turns the check off.

    Args:
        folder: a folder of the cache; it need not exist.
        root: the cache.
        variable: the environment variable that names another cache.
    """
    asked = os.environ.get("MILLSTREAM_CACHE_CHECK")
    if asked == "skip":
        return None
    folder, root = folder.absolute(), root.absolute()
    if asked == "inside":
        folder, root = folder.resolve(), root.resolve()
    closed = False  # a folder that others cannot enter protects what is below
    *way, last = (step for step in _way(folder) if asked != "inside" or step == root or root in step.parents)
    for path in (*way, last):
        try:
            status = path.lstat()
        except OSError:  # what is missing cannot be read
            return None
        if path is not last and stat.S_IFMT(status.st_mode) not in (stat.S_IFDIR, stat.S_IFLNK):
            return None  # and neither can anything below a file
        closed = closed and path != path.parent and path.name != ".."
        if problem := _problem(path, status, closed=closed, sticky=path is not last):
            return _advice(path, problem, root, variable)
        closed |= stat.S_ISDIR(status.st_mode) and not status.st_mode & _ENTER
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            with suppress(FileNotFoundError):  # another process has just removed it
                if problem := _problem(path, path.lstat(), closed=closed, sticky=False):
                    return _advice(path, problem, root, variable)
    return None


def _way(path: Path) -> Iterator[Path]:
    """Every folder and link that leads to an absolute path, from the root down, and the path."""
    for step in (*reversed(path.parents), path):
        yield step
        if step.is_symlink() and step.exists():  # and is no circle
            yield from _way(step.parent / step.readlink() / path.relative_to(step))
            return


def _problem(path: Path, status: os.stat_result, *, closed: bool, sticky: bool) -> str | None:
    """Who else can change a file or a folder, or None."""
    mode, me = status.st_mode, os.geteuid()
    if status.st_uid not in (0, me):
        return f"{path} belongs to {_user(status.st_uid)}, not to {_user(me)} or root"
    if closed or stat.S_ISLNK(mode) or (sticky and mode & stat.S_ISVTX):
        return None
    if mode & _OTHERS:
        return f"every user can write to {path}"
    if mode & _GROUP and not _is_private(path, status.st_gid):
        return f"other users of the group {status.st_gid} can write to {path}"
    return None


def _is_private(path: Path, gid: int) -> bool:
    """Whether the bits of a file's group give write permission to this user and root alone."""
    me = _user(os.geteuid())
    if _ACL in getattr(os, "listxattr", lambda *_, **__: [])(path, follow_symlinks=False):
        return False  # the bits stand for everybody whom the list names
    try:
        group = grp.getgrgid(gid)
    except KeyError:  # a container's: no name, no members
        return gid == os.geteuid()
    return (gid == 0 or group.gr_name == me) and {*group.gr_mem} <= {me, "root"}


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _advice(path: Path, problem: str, root: Path, variable: str) -> str:
    """An error's line: what is wrong, and the command that mends it."""
    other = f"set {variable} to a folder of your own"
    if path == root and root.is_mount():
        mend = (
            f"{other}, or, if nobody else can reach this volume, to a new folder in it with "
            "MILLSTREAM_CACHE_CHECK=inside"
        )
    elif path == root or root in path.parents:
        part = root if path == root else root / path.relative_to(root).parts[0]
        mend = f"run `rm -r {shlex.quote(str(part))}`, it is created again for you alone, or {other}"
    elif path.lstat().st_uid == os.geteuid():
        commands = f"chmod go-w {shlex.quote(str(path))} && rm -rf {shlex.quote(str(root))}"
        mend = f"run `{commands}`, the cache is created again for you alone, or {other}"
    else:
        mend = other
    return f"{problem}, and so decides what is loaded from the cache {root}: {mend}"
