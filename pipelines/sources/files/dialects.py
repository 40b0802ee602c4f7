"""How each input file of text is written: as the user says, or guessed from its beginning."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from encoder.errors import UnreadableFile
from pipelines.formats import FileFormat
from pipelines.formats.csv_guess import guess_csv, guess_newline
from pipelines.formats.dialect import GUESSED, Dialect, shown_character
from pipelines.formats.row_boundaries import RETURN
from pipelines.formats.signatures import why_no_text
from pipelines.records.encodings import UTF8, detect_encoding, to_utf8
from pipelines.records.utf8 import BOM
from pipelines.sources.files.byte_stream import ByteRange
from pipelines.sources.files.discovery import InputFile, find_inputs
from pipelines.sources.files.filesystem import reading

__all__ = ["describe_guesses", "find_with_dialects", "with_dialect", "with_dialects"]

_THREADS = 16  # the heads are small: most time is spent waiting for an object store
_SAMPLE_FILES = 64


def find_with_dialects(
    pattern: str,
    input_format: FileFormat | None,
    given: Dialect,
    say: Callable[[str], object],
) -> list[InputFile]:
    """The files that `pattern` names, with their dialects.

    Args:
        pattern: file, folder or glob.
        input_format: of all files; None goes by each file's extension.
        given: what the user says about files of text.
        say: called with each line of `describe_guesses`.

    Raises:
        InputError: there are no files.
        ConfigurationError: the format or the URI's scheme is unknown.
        StoreUnavailable: the object store does not answer.
    """
    files = with_dialects(find_inputs(pattern, input_format, given))
    for line in describe_guesses(files, given):
        say(line)
    return files


def with_dialects(files: list[InputFile]) -> list[InputFile]:
    """The files with their dialects: of all CSV files, and of at most 64 others, evenly spread.

    Readers guess the dialects of the others, and find out again which files cannot be read.

    Raises:
        StoreUnavailable: the object store does not answer.
    """
    text = [i for i, file in enumerate(files) if file.format in ("jsonl", "text")]
    every = max(1, -(-len(text) // _SAMPLE_FILES))
    chosen = {i for i, file in enumerate(files) if file.format == "csv"}.union(text[::every])
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda i: _known(files[i]) if i in chosen else files[i], range(len(files))))


def _known(file: InputFile) -> InputFile:
    try:
        return with_dialect(file)
    except UnreadableFile:
        return file


def with_dialect(file: InputFile) -> InputFile:
    """The file with all of its dialect; what the user did not say is guessed from the first MiB.

    A byte order mark decides on the encoding, whatever the user says; NUL bytes show UTF-16 and UTF-32
    without one.

    Raises:
        InputError: the file cannot be read.
        StoreUnavailable: the object store does not answer.
    """
    given = file.dialect
    if file.format == "parquet" or given.is_known:
        return file
    with reading(file.path), ByteRange(replace(file, dialect=GUESSED), 0, file.size) as data:
        head = next(iter(data), b"")
    if why := why_no_text(head):
        inside = ", decompressed once" if file.compression else ""
        raise UnreadableFile(f"cannot read {file.path}{inside}: {why}")
    encoding = detect_encoding(head, given.encoding or UTF8)
    text = b"".join(to_utf8(iter([head]), encoding)).removeprefix(BOM)
    newline = guess_newline(text) if given.newline is None else given.newline
    guessed = replace(given, encoding=encoding, newline=newline)
    if file.format == "csv":
        guessed = guess_csv(text, guessed, file.usual_delimiter)
    else:
        guessed = replace(guessed, delimiter="", quote="", escape="")
    return replace(file, dialect=guessed)


def describe_guesses(files: Iterable[InputFile], given: Dialect = GUESSED) -> Iterator[str]:
    """A line for each way of writing that was guessed and that the files' names do not say.

    Args:
        files: with their dialects; others are left out.
        given: what the user said.
    """
    groups: dict[tuple[tuple[str, str], ...], list[InputFile]] = {}
    for file in files:
        if unusual := _unusual(file, given):
            groups.setdefault(tuple(unusual.items()), []).append(file)
    for found, members in groups.items():
        more = f" and {len(members) - 1:,} more" if len(members) > 1 else ""
        ways = ", ".join(f"{name} {value}" if value else name for name, value in found)
        flags = [f"--{name}" for name, _ in found if name in ("delimiter", "quote", "escape", "encoding")]
        change = f"; to change it, set {', '.join(flags)}" if flags else ""
        yield f"{members[0].path}{more}: guessed {ways}{change}"


def _unusual(file: InputFile, given: Dialect) -> dict[str, str]:
    """What was guessed of a file, and differs from what its name suggests."""
    found = file.dialect
    if file.format == "parquet" or not found.is_known:
        return {}
    usual = (
        Dialect(file.usual_delimiter, '"', "", UTF8) if file.format == "csv" else Dialect("", "", "", UTF8)
    )
    if file.usual_delimiter == "\t":
        usual = replace(usual, quote="")
    guesses = {
        name: found.encoding or UTF8 if name == "encoding" else shown_character(getattr(found, name))
        for name in ("delimiter", "quote", "escape", "encoding")
        if getattr(given, name) is None and getattr(found, name) != getattr(usual, name)
    }
    if found.newline == RETURN:
        guesses["line breaks of carriage returns"] = ""
    return guesses
