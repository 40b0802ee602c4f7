"""Files that are no lines of text, whatever their names say, by their first bytes."""

import re

__all__ = ["why_no_text"]

_ARCHIVES = (
    (rb"\x1f\x8b\x08", "gzip", "let its name end with .gz"),
    (rb"\x28\xb5\x2f\xfd", "Zstandard", "let its name end with .zst"),
    (rb"BZh[1-9]1AY&SY", "bzip2", "decompress it"),
    (rb"\xfd7zXZ\0", "xz", "decompress it"),
    (rb"\x04\x22\x4d\x18", "LZ4", "decompress it"),
    (rb"\xff\x06\0\0sNaPpY", "Snappy", "decompress it"),
    (rb"PK\x03\x04", "a zip archive", "extract it"),
    (rb"PAR1[\0-\x08\x0e-\x1f]", "Parquet", "let its name end with .parquet"),
    (rb"ARROW1\0", "an Arrow file", "convert it to Parquet"),
    (rb"Obj\x01", "an Avro file", "convert it to Parquet"),
    (rb"ORC[\0-\x08\x0e-\x1f]", "ORC", "convert it to Parquet"),
)
_PATTERNS = tuple((re.compile(start), name, advice) for start, name, advice in _ARCHIVES)


def why_no_text(head: bytes) -> str | None:
    """What a file is and what to do with it, if it begins as no text does; else None.

    Args:
        head: its first bytes, decompressed if its name says that it is compressed.
    """
    for start, name, advice in _PATTERNS:
        if start.match(head):
            return f"it is {name}, not text: {advice}"
    return None
