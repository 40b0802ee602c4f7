"""Tables in Markdown."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from distill.report.markdown import markdown_table


def test_a_row_is_a_line_and_numbers_stand_at_the_right():
    table = markdown_table(["name", "n"], [["a", "1"], ["b", "2"]], numbers_from=1)
    assert table == "| name | n |\n| --- | ---: |\n| a | 1 |\n| b | 2 |\n"
    assert markdown_table(["name", "n"], []) == "| name | n |\n| --- | --- |\n"


def test_no_text_ends_its_cell_or_its_line():
    assert markdown_table(["a"], [["x | y\nz"]]).splitlines()[-1] == "| x \\| y z |"


def shown(text):
    """The HTML of a text's cell."""
    page = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    page = page.render(markdown_table(["a", "b"], [[text, "next"]]))
    (row,) = re.findall(r"<tbody>\s*<tr>(.*?)</tr>\s*</tbody>", page, re.DOTALL)
    first, second = re.fullmatch(r"\s*<td>(.*)</td>\s*<td>(.*)</td>\s*", row, re.DOTALL).groups()
    assert second == "next"
    return first


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "![](https://example.org/pixel.png)",
        "[here](https://example.org)",
        "[one][two] [three]",
        "<https://example.org>",
        "<!-- and all that follows",
        "**bold** _slanted_ `code` ~~gone~~",
        "&lt;b&gt; &#124;",
        "a \\| b \\",
        "\\<b>",
    ],
)
def test_no_text_becomes_markup(text):
    assert html.unescape(shown(text)) == text
    assert "<" not in shown(text)


@given(st.text(st.sampled_from("ab1 \\`*_[]()<>&;#!~$|:./\"'-+="), max_size=30))
def test_every_text_is_shown_as_it_is(text):
    assert html.unescape(shown(text)) == " ".join(text.split())


def test_no_address_becomes_a_link_and_no_dollars_mathematics():
    table = markdown_table(["a"], [["HTTPS://a.b and www.a.b, x.www: $x$"]])
    assert table.splitlines()[-1] == "| HTTPS\\://a.b and www\\.a.b, x.www: \\$x\\$ |"
