"""Records of any dialect are read back, whatever pieces they come in."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.formats.csv import CsvDecoder, header_names
from pipelines.formats.dialect import Dialect
from pipelines.formats.row_boundaries import LINE_FEED, RETURN, blocks

NAMES = ("a", "b")
SCHEMA = pa.schema([(name, pa.string()) for name in NAMES])
DIALECTS = [
    Dialect(",", '"', "", "utf-8", LINE_FEED),
    Dialect(";", '"', "\\", "utf-8", LINE_FEED),
    Dialect("\t", "", "", "utf-8", LINE_FEED),
    Dialect("\t", "", "\\", "utf-8", LINE_FEED),
    Dialect("|", "'", "", "utf-8", LINE_FEED),
    Dialect("\x01", "'", "^", "utf-8", LINE_FEED),
    Dialect(",", '"', "", "utf-8", RETURN),
]
FIELDS = st.text(st.sampled_from("a\"'\\^,;\t|\x01\né "), max_size=6)


def decoded(data, dialect, size=1 << 20):
    """The good records, and the reasons of the others, by their positions."""
    decode = CsvDecoder("a.csv", dialect, SCHEMA, NAMES)
    good, bad, n_rows = {}, {}, 0
    pieces = (data[i : i + size] for i in range(0, len(data), size))
    for block in blocks(pieces, dialect.rows(csv=True), "a.csv"):
        batch, rows, reasons = decode(block)
        good |= {
            n_rows + row: tuple(one.values())
            for row, one in zip(rows.tolist(), batch.to_pylist(), strict=True)
        }
        bad |= {n_rows + row: reason for row, reason in reasons.items()}
        n_rows += len(block)
    return good, bad


def written(value, dialect, quoted):
    """A field as a program writes it."""
    newline = chr(dialect.newline)
    if dialect.quote:
        if not quoted and not any(
            mark in value for mark in (dialect.delimiter, dialect.quote, "\n", newline)
        ):
            return value
        if dialect.escape:
            for mark in (dialect.escape, dialect.quote):
                value = value.replace(mark, dialect.escape + mark)
        return (
            dialect.quote
            + (value if dialect.escape else value.replace(dialect.quote, 2 * dialect.quote))
            + dialect.quote
        )
    if dialect.escape:
        for mark in (dialect.escape, dialect.delimiter, "\n"):
            value = value.replace(mark, dialect.escape + mark)
        return value
    return value.replace(dialect.delimiter, " ").replace("\n", " ")


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(FIELDS, FIELDS, st.booleans()), min_size=1, max_size=4),
    st.sampled_from(DIALECTS),
    st.sampled_from([1, 2, 7, 1 << 20]),
)
def test_records_are_read_back(rows, dialect, size):
    newline = chr(dialect.newline)
    if newline == "\r":
        rows = [(a.replace("\n", "\r"), b.replace("\n", "\r"), quoted) for a, b, quoted in rows]
    if not dialect.quote and not dialect.escape:
        rows = [(written(a, dialect, False), written(b, dialect, False), False) for a, b, _ in rows]
    lines = (dialect.delimiter.join(written(value, dialect, row[2]) for value in row[:2]) for row in rows)
    good, bad = decoded("".join(line + newline for line in lines).encode(), dialect, size)
    assert (good, bad) == (dict(enumerate(row[:2] for row in rows)), {})


def test_escapes_count_in_quotes_as_spark_writes_them():
    data = rb"""1,"say \"hi\" now"
2,"C:\\dir"
3,C:\dir
4,"C:\new"
5,\\server
6,"end\\"
7,"x""y"
"""
    good, bad = decoded(data, Dialect(",", '"', "\\", "utf-8", LINE_FEED))
    values = ['say "hi" now', r"C:\dir", r"C:\dir", r"C:\new", r"\\server", "end\\", 'x"y']
    assert (good, bad) == ({row: (str(row + 1), value) for row, value in enumerate(values)}, {})


def test_text_after_a_closing_quote_is_a_bad_record_and_a_quote_in_the_middle_is_plain():
    good, bad = decoded(b'1,"abc"def\n2,5" disk\n3,"x"\n4,ab"c"\n5,"x\n6,"y"z\n', DIALECTS[0])
    assert good == {1: ("2", '5" disk'), 2: ("3", "x"), 3: ("4", 'ab"c"')}
    reason = "text after a closing quote: if quotes are plain characters, set --quote none"
    assert bad == {0: reason, 4: reason}


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (b'"a,1",,b', ["a,1", "column_2", "b"]),
        (b'a,"b ""c"""', ["a", 'b "c"']),
        (b'"a,b', None),
        (b'"a"b,c', None),
    ],
)
def test_the_header_has_names_or_its_quotes_do_not_match(header, names):
    assert header_names(header, DIALECTS[0]) == names
