"""What users write for the dialect of CSV."""

import pytest

from encoder.errors import ConfigurationError
from pipelines.formats.dialect import Dialect, shown_character


def test_characters_have_names():
    assert Dialect.parse("tab", "none", "\\", "Latin1") == Dialect("\t", "", "\\", "iso8859-1")
    assert Dialect.parse("\\t").delimiter == "\t"
    assert Dialect.parse("\\x01").delimiter == "\x01"
    assert Dialect.parse(escape='"').escape == ""  # a doubled quote
    assert Dialect.parse() == Dialect()
    assert [shown_character(one) for one in ("\t", ";", "\x01", "")] == ["tab", "';'", r"'\x01'", "none"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "||"}, "cannot use `delimiter` '||': write one character of ASCII"),
        ({"delimiter": "§"}, "cannot use `delimiter` '§'"),
        ({"delimiter": "\n"}, "cannot use `delimiter`"),
        ({"delimiter": "none"}, "`delimiter` cannot be none"),
        ({"quote": "''"}, "cannot use `quote`"),
        ({"delimiter": ";", "quote": ";"}, "is the `quote` or `escape` too"),
        ({"encoding": "nope"}, "unknown `encoding` 'nope'"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigurationError) as found:
        Dialect.parse(**options)
    assert message in str(found.value)
