"""Where rows end, against an obvious reference, whatever pieces the bytes come in."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipelines.formats.csv_records import CsvRecords
from pipelines.formats.row_boundaries import Lines, blocks

BYTES = st.lists(
    st.sampled_from([b'"', b",", b"\n", b"\r\n", b"a", b'""', b'","', b"\xff"]), max_size=30
).map(b"".join)


def csv_ends(data):
    """RFC 4180 one byte after the other; quotes inside unquoted fields are plain."""
    ends, state = [], "start"
    for position, byte in enumerate(data):
        char = bytes([byte])
        if state == "quoted":
            state = "closed" if char == b'"' else "quoted"
        elif char == b'"' and state in ("start", "closed"):
            state = "quoted"
        elif char == b"\n":
            ends.append(position + 1)
            state = "start"
        else:
            state = "start" if char == b"," else "unquoted"
    return ends, state == "quoted"


def pieces_of(data, cuts):
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


@given(BYTES, st.lists(st.integers(0, 100)))
def test_csv_records_end_at_line_breaks_outside_quotes(data, cuts):
    rows, ends, at = CsvRecords(","), [], 0
    for piece in pieces_of(data, cuts):
        ends += [at + int(end) for end in rows.ends(piece)]
        at += len(piece)
    assert (ends, rows.open_quote) == csv_ends(data)


@given(BYTES, st.lists(st.integers(0, 100)), st.booleans())
def test_blocks_hold_every_row_once(data, cuts, quoted):
    rows = CsvRecords(",") if quoted else Lines()
    found, stripped = [], []
    for block in blocks(iter(pieces_of(data, cuts)), rows, "a"):
        head, tail = block.cut(1)
        for part in (head, tail):
            spans = zip(part.starts[: len(part)], part.ends, part.stops(), strict=True) if len(part) else ()
            for start, end, stop in spans:
                found.append(block.data[start:end])
                stripped.append(block.data[start:stop])
    ends = csv_ends(data)[0] if quoted else [i + 1 for i, byte in enumerate(data) if byte == 10]
    edges = [0, *ends, len(data)]
    expected = [data[a:b] for a, b in pairwise(edges) if a < b]
    unended = bool(expected) and edges[-1] not in ends
    assert found == [*expected[:-1], expected[-1] + b"\n"] if unended else found == expected
    assert stripped == [row.removesuffix(b"\n").removesuffix(b"\r") for row in found]
