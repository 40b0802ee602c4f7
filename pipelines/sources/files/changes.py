"""Whether a file is still the one that was listed: its parts are read later, one by one."""

from encoder.errors import UnreadableFile
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import is_remote, locate, open_file

__all__ = ["check_unchanged"]


def check_unchanged(file: InputFile, start: int) -> None:
    """Check that a file on this machine is the one that was listed; lines that were appended do not matter.

    Whoever reads a file that has become shorter finds its end by himself.

    Args:
        file: as it was listed.
        start: the byte where the part that is read begins; 0 for all of it.

    Raises:
        UnreadableFile: it was written anew.
    """
    if file.modified is None or is_remote(file.path):
        return
    filesystem, inside = locate(file.path)
    now = filesystem.get_file_info(inside)
    if now.mtime_ns in (None, file.modified):  # None: it is gone
        return
    size = -1 if now.size is None else now.size
    is_same = size < file.size or (size > file.size and _begins_a_row(file, start))
    if file.format == "parquet" or not is_same:
        raise UnreadableFile(
            f"{file.path} was written anew after it had been found: rows of it that came out already may be "
            "of either version; run the job again into another folder"
        )


def _begins_a_row(file: InputFile, start: int) -> bool:
    if start == 0 or file.compression is not None:
        return True
    with open_file(file.path) as source:
        source.seek(start - 1)
        return source.read(1) in (b"\n", b"\r", b"\0")  # the last byte of a line end in UTF-16 is 0
