"""Numbers of any length are found if a double does not hold them."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.formats.json_numbers import fits_double, large_numbers, long_numbers, rounded

DIGITS = st.text("0123456789", max_size=25)
NUMBERS = st.builds(
    lambda sign, whole, fraction, exponent: (
        f"{sign}{(whole.lstrip('0') or '0')}{'.' + fraction if fraction else ''}{exponent}"
    ),
    st.sampled_from(["", "-"]),
    DIGITS,
    DIGITS,
    st.sampled_from(["", "", "", "e5", "E-7", "e+20", "e-300", "e-310", "E-400", "e307"]),
)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False).map(repr)
TEXTS = st.text(st.sampled_from("0123456789.eE-+ ,:x"), max_size=30)


@pytest.mark.parametrize(
    ("number", "fits"),
    [
        ("0.1", True), ("0.30000000000000004", True), ("0.10000000000000001", True),
        ("123456789012345.67", True), ("1.0000000000000000", True), ("5e-324", True),
        ("1.7976931348623157e308", True),
        ("-0.0", True),
        ("0.12345678901234567", False), ("3.141592653589793238", False), ("9007199254740993.0", False),
        ("1e-400", False), ("4e-324", False), ("1e400", False), ("0." + "0" * 400 + "1", False),
    ],
)  # fmt: skip
def test_a_double_holds_a_number_that_it_gives_back(number, fits):
    assert fits_double(Decimal(number)) is fits


@pytest.mark.parametrize(
    ("number", "fits"),
    [(2**53, True), (2**53 + 1, False), (1234567890123456789, False), (2**64, True), (10**400, False)],
)
def test_a_double_holds_some_whole_numbers(number, fits):
    assert fits_double(number) is fits


@given(st.lists(st.tuples(TEXTS, NUMBERS | DOUBLES), min_size=1, max_size=6))
@example([("x" * 20, "1"), ("", "0.000001E-400"), ("x" * 30, "1"), ("x" * 30, "1"), ("x" * 30, "1")])
def test_numbers_that_a_double_does_not_hold_are_found_wherever_they_are(fields):
    lines = [f'{{"t":"{text}","n":{number}}}\n'.encode() for text, number in fields]
    ends = np.cumsum([len(line) for line in lines])
    found = set(np.searchsorted(ends, long_numbers(b"".join(lines)), side="right").tolist())
    schema = pa.schema([("t", pa.string()), ("n", pa.float64())])
    for row, (line, (_, number)) in enumerate(zip(lines, fields, strict=True)):
        fits = fits_double(Decimal(number))
        reason = rounded(line, schema)
        assert (reason is None) is fits, number
        if reason:
            assert "field 'n'" in reason
            assert row in found or abs(float(number)) >= 2**53


@pytest.mark.slow
def test_doubles_as_programs_write_them_are_not_suspected():
    random = np.random.default_rng(3)
    numbers = [repr(x) for x in random.random(1000).tolist()]
    numbers += [f"{x:.3f}" for x in (random.random(1000) * 1e10).tolist()]
    numbers += [str(x) for x in random.integers(2**62, size=1000).tolist()]
    line = '{"id":"550e8400-e29b-41d4-a716-446655440000","at":"2026-01-01T00:00:00.123456Z","x":%s,"y":0}'
    data = "\n".join(line % number for number in numbers).encode()
    assert len(long_numbers(data)) < 5  # those at the ends of the data


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        (pa.array([1.5, 2.0**53, None, -1e300, float("inf")]), [1, 3, 4]),
        (pa.array([[1.5], None, [], [1e17, 0.5], [None]]), [3]),
        (pa.array([{"a": {"b": [1e17]}, "c": "x"}, None, {"a": None, "c": "y"}]), [0]),
        (pa.array(["1e17", None]), []),
        (pa.array([2**60]), []),
    ],
)
def test_large_numbers(values, rows):
    assert large_numbers(values).tolist() == rows
    assert large_numbers(values.slice(1)).tolist() == [row - 1 for row in rows if row]
