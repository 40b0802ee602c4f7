"""The input files of a job, with their formats and compressions."""

import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from urllib.parse import quote

from pyarrow import fs

from encoder.errors import ConfigurationError, InputError
from encoder.uris import split_query
from pipelines.formats import FileFormat
from pipelines.formats.dialect import GUESSED, Dialect
from pipelines.sources.files.filesystem import locate, reading

__all__ = ["FORMATS", "InputFile", "find_inputs"]

FORMATS: dict[FileFormat, tuple[str, ...]] = {
    "parquet": (".parquet", ".pq"),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "csv": (".csv", ".tsv"),
    "text": (".txt", ".log"),
}
"""The extensions of each format. `.json` files are JSON lines, too; `.tsv` has tabs between fields."""

_COMPRESSIONS = {".gz": "gz", ".zst": "zst", ".zstd": "zst"}
_BY_EXTENSION = {extension: name for name, extensions in FORMATS.items() for extension in extensions}
_WILDCARD = re.compile(r"[*?\[]")
_HIDDEN = ("_", ".")


@dataclass(frozen=True)
class InputFile:
    """A file to read.

    Attributes:
        path: an absolute local path, or a URI.
        size: in bytes, as stored.
        format: `parquet`, `jsonl`, `csv` or `text`.
        compression: None, `gz` or `zst`.
        dialect: how a file of text is written, as far as the user says or a reader has guessed.
        modified: when it was written last, nanoseconds since the epoch; None if that is not known.
    """

    path: str
    size: int
    format: FileFormat
    compression: str | None
    dialect: Dialect = GUESSED
    modified: int | None = field(default=None, compare=False)

    @property
    def usual_delimiter(self) -> str:
        """The delimiter that the name of a CSV file suggests."""
        return "\t" if _stem(self.path)[0].endswith(".tsv") else ","


def find_inputs(
    pattern: str,
    input_format: FileFormat | None = None,
    dialect: Dialect = GUESSED,
    skip: Callable[[InputError], object] | None = None,
) -> list[InputFile]:
    """The files that `pattern` names, sorted by path; a file to which links lead, too, is there once.

    Args:
        pattern: a local path or URI of a file, of a folder (which includes its subfolders), or a glob with
            `*`, `?`, `[a-z]` and `**` (any number of folders). Names that begin with `_` or `.` are skipped,
            unless the pattern spells them out.
        input_format: of all files; None goes by each file's extension.
        dialect: what the user says about files of text.
        skip: called for each file whose name says no format or is no text; None raises the error.

    Raises:
        UnreadableFile: a folder cannot be read.
        InputError: there are no files, or a name says no format and `input_format` is None.
        ConfigurationError: the format or the URI's scheme is unknown.
    """
    if input_format is not None and input_format not in FORMATS:
        raise ConfigurationError(f"unknown format {input_format!r}: use one of {', '.join(FORMATS)}")
    found = sorted(_find(pattern, skip), key=itemgetter(0))
    if not found:
        raise InputError(
            f"no input files at {pattern!r}: name a file, a folder or a glob such as 'logs/**/*.jsonl'"
        )
    files = []
    for path, info in found:
        try:
            files.append(_input_file(path, info, input_format, dialect))
        except InputError as error:
            if skip is None:
                raise
            skip(error)
    return files


def _input_file(path: str, info: fs.FileInfo, wanted: FileFormat | None, dialect: Dialect) -> InputFile:
    stem, compression = _stem(path)
    extension = posixpath.splitext(stem)[1]
    name = wanted or _BY_EXTENSION.get(extension)
    if name is None:
        known = " ".join(_BY_EXTENSION)
        raise InputError(
            f"unknown extension of {path}: set --input-format, or rename it to one of {known} (.gz .zst)"
        )
    if name == "parquet" and compression is not None:
        raise InputError(f"{path} is compressed Parquet, which cannot be read: decompress it")
    return InputFile(path, info.size, name, compression, dialect, info.mtime_ns)


def _stem(path: str) -> tuple[str, str | None]:
    """The path in lower case without the extension of a compression, and the compression."""
    stem, extension = posixpath.splitext(split_query(path)[0].lower())
    compression = _COMPRESSIONS.get(extension)
    return (stem, compression) if compression else (stem + extension, None)


def _find(pattern: str, skip: Callable[[InputError], object] | None) -> list[tuple[str, fs.FileInfo]]:
    """The files that match a pattern, with their paths."""
    filesystem, inside = locate(pattern)
    with reading(pattern):
        info = filesystem.get_file_info(inside)
        if info.type == fs.FileType.File:
            return [(_path(pattern, inside, inside), info)]
        if info.type == fs.FileType.Unknown:
            raise InputError(f"{pattern} is a pipe or a device: write its records to a file")
        if info.type == fs.FileType.Directory:
            base, matches = inside, re.compile(_glob_regex("**/*"))
        elif _WILDCARD.search(inside):
            base = posixpath.dirname(inside[: _WILDCARD.search(inside).start()])  # type: ignore[union-attr] # just found
            matches = re.compile(_glob_regex(inside[len(base) :].lstrip("/")))
        else:
            return []
        listing = filesystem.get_file_info(fs.FileSelector(base, recursive=True, allow_not_found=True))
    found = {}
    for entry in listing:
        path, problem = _name_of(entry)
        if entry.type != fs.FileType.File or not matches.fullmatch(path[len(base) :].lstrip("/")):
            continue
        if problem is None:
            found[path] = entry
        elif skip is None:
            raise problem
        else:
            skip(problem)
    paths = _each_once(found) if isinstance(filesystem, fs.LocalFileSystem) else found
    return [(_path(pattern, inside, path), found[path]) for path in paths]


def _name_of(entry: fs.FileInfo) -> tuple[str, InputError | None]:
    """The path of a file, and what is wrong with it."""
    try:
        return entry.path, None
    except UnicodeDecodeError as error:
        problem = InputError(f"the name of the file {error.object!r} is not UTF-8: rename it")
        return os.fsdecode(error.object), problem


def _each_once(paths: Iterable[str]) -> Iterator[str]:
    """Local paths without those that lead over links to a file that another one leads to as well.

    Folders may hold a link to their newest file, and links to folders above them.
    """
    links = {path: Path(path).is_symlink() for path in paths}
    folders: dict[str, str] = {}
    seen = set()
    for path in sorted(links, key=lambda one: (links[one], one.count("/"), one)):
        folder, name = posixpath.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        real = os.path.realpath(path) if links[path] else f"{folders[folder]}/{name}"
        if real not in seen:
            seen.add(real)
            yield path


def _path(pattern: str, inside: str, found: str) -> str:
    """The path or URI of `found`, a path inside the pattern's filesystem."""
    body, query = split_query(pattern)
    scheme, separator, rest = body.partition("://")
    if not separator:
        return found
    if scheme == "file":
        return "file://" + quote(found)
    authority = rest.split("/", 1)[0]
    root = inside.split("/", 1)[0]  # the bucket or container, which the authority has, too
    return f"{scheme}://{authority}/{quote(found.removeprefix(root).lstrip('/'))}{query}"


def _glob_regex(glob: str) -> str:
    """A regular expression for relative paths; wildcards do not match a leading `_` or `.`."""
    folders = [_segment_regex(name) for name in glob.split("/")]
    text = "/".join(folders)
    return text.replace("\0/", r"(?:(?![_.])[^/]+/)*").replace("\0", r"(?:(?![_.])[^/]+/)*(?![_.])[^/]+")


def _segment_regex(name: str) -> str:
    if name == "**":
        return "\0"  # replaced together with the slash after it
    text = "" if name.startswith(_HIDDEN) or not _WILDCARD.match(name) else r"(?![_.])"
    position = 0
    while position < len(name):
        char = name[position]
        if char == "[" and (end := name.find("]", position + 2)) > 0:
            body = name[position + 1 : end].replace("\\", r"\\").replace("[", r"\[")
            text += f"[{'^/' + body[1:] if body[0] in '!^' else body}]"
            position = end
        else:
            text += {"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char))
        position += 1
    return text
