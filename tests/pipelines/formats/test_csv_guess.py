"""What is guessed from the beginning of a file."""

import pytest

from pipelines.formats.csv_guess import guess_csv, guess_newline
from pipelines.formats.dialect import GUESSED, Dialect
from pipelines.formats.row_boundaries import LINE_FEED, RETURN


@pytest.mark.parametrize(
    ("head", "usual", "found"),
    [
        (b"id,text\n1,a\n", ",", (",", '"', "")),
        (b"", ",", (",", '"', "")),
        (b"id;text;price\n1;a, b;1,5\n", ",", (";", '"', "")),
        (b"id|text\n1|a,b\n", ",", ("|", '"', "")),
        (b"id\ttext\n1\ta\n", ",", ("\t", "", "")),
        (b"id,text\n1,a\n", "\t", (",", '"', "")),
        (b"text\na; b; c\nd\n", ",", (",", '"', "")),
        (b"a,b;c\n1;2\n3;4\n", ",", (";", '"', "")),
        (b'id,text\n1,"say \\"hi\\" now"\n', ",", (",", '"', "\\")),
        (b'id,text\n1,"C:\\dir\\",\n', ",", (",", '"', "")),
        (b'id,text\n1,"a ""b"" c"\n', ",", (",", '"', "")),
        (b'id,text\n1,"never closed\n2,b\n', ",", (",", '"', "")),
        (b'id\ttext\n1\t"hello\n2\tfoo\n', "\t", ("\t", "", "")),
        (b'id\ttext\n1\t"Yes."\n2\tNo\n', "\t", ("\t", "", "")),
        (b'id\ttext\n1\t"a ""b"""\n', "\t", ("\t", '"', "")),
        (b'id\ttext\n1\t"a\nb"\n', "\t", ("\t", '"', "")),
        (b'"id"\t"text"\n"1"\t"a"\n', "\t", ("\t", '"', "")),
        (b'id\ttext\n1\t"say \\"hi\\""\n', "\t", ("\t", '"', "\\")),
    ],
)
def test_the_dialect_fits_the_first_rows(head, usual, found):
    guessed = guess_csv(head, GUESSED, usual)
    assert (guessed.delimiter, guessed.quote, guessed.escape) == found


def test_what_the_user_says_is_not_guessed():
    given = Dialect(",", "'", "", "utf-8", LINE_FEED)
    assert guess_csv(b'id;text\n1;"a\n', given, ",") == given
    assert guess_csv(b'id\ttext\n1\t"a ""b"""\n', Dialect(quote=""), "\t").quote == ""


def test_rows_end_at_carriage_returns_where_there_are_no_line_feeds():
    assert guess_newline(b"a\rb\r") == RETURN
    assert guess_newline(b"a\r\nb\r") == guess_newline(b"a\r") == guess_newline(b"") == LINE_FEED
