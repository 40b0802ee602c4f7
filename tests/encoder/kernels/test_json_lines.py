"""What the scan of JSON lines counts, against plain Python."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.kernels.json_lines import scan_lines

PIECES = [
    '":', ":", '"', " :", "\t:", "a:", "!:", "}\n{", "\n", "}\n", "\n{", "{", "}", ",", " ", "e-", "E-", "-",
    "0", "12345678", "1.5", ".", "é", "\x80", "x" * 63, "x" * 64, "/",
]  # fmt: skip


def scanned(data):
    return scan_lines(np.frombuffer(data, np.uint8))


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_it_counts_keys_and_line_feeds(text):
    data = text.encode("latin-1", "replace")
    n_keys, n_breaks, n_between, _ = scanned(data)
    assert n_keys == len(re.findall(rb'(?<=[\x00-"]):', data))
    assert n_breaks == data.count(b"\n")
    assert n_between == len(re.findall(rb"(?<=\})\n(?=\{)", data))


@pytest.mark.parametrize("before", [0, 1, 7, 40, 55, 63, 64, 100])
@pytest.mark.parametrize(
    ("number", "is_long"),
    [
        ("0.12345678901234567890", True),
        ("12345678901234567.5", True),
        ("1.2345678901234567e-30", True),
        ("123456789012345678901234567890", True),  # of so many digits that it is looked at more closely
        ("1e-400", True),
        ("1E-1", True),
        ("1234567890123456789", False),
        ("-1790000000000", False),
        ("1234567.1234567", False),
        ("1e400", False),
    ],
)
def test_a_number_of_many_digits_is_found_wherever_it_stands(before, number, is_long):
    for value in (f'{{"n":{number}}}', f'{{"n":[1, {number} ,2]}}'):
        data = b"{" + b" " * before + value.encode()
        assert scanned(data)[3] == is_long
        assert scanned(data + b" " * 70)[3] == is_long


@pytest.mark.parametrize(
    "text", ["3e-4123-9d0f", "v1.234567890123456789", "0.12345678901234567890x", "2024/11/30/12345678"]
)
def test_digits_inside_of_words_are_no_number(text):
    assert not scanned(f'{{"text":"a {text} b","id":7}}'.encode() * 3)[3]


@pytest.mark.parametrize("data", [b"", b"\n", b":", b'":', b"}\n{"])
def test_short_data_are_looked_at_to_their_ends(data):
    n_keys, n_breaks, n_between, is_long = scanned(data)
    assert (n_keys, n_breaks, n_between) == (data.count(b'":'), data.count(b"\n"), data.count(b"}\n{"))
    assert not is_long
