"""Confluent's wire format: which schema, and which message of it."""

import io

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.formats.schema_registry import HEADER, header, message_indexes, schema_id, varint

IDS = st.integers(0, 2**31 - 1)


@given(IDS, st.binary())
def test_the_id_comes_back(number, record):
    value = header(number) + record
    assert schema_id(value) == number
    assert value[HEADER:] == record


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0\0\0", b"\1\0\0\0\1", b'{"id":1}'])
def test_other_values_have_none(value):
    assert schema_id(value) is None


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_written_as_avro_does(number):
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, "long", number)
    assert varint(number) == stream.getvalue()


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=20), st.binary())
def test_the_numbers_of_a_message_come_back(indexes, message):
    framed = header(7) + varint(len(indexes)) + b"".join(map(varint, indexes)) + message
    found, at = message_indexes(framed)
    assert found == tuple(indexes)
    assert framed[at:] == message


def test_the_first_message_is_one_byte():
    assert message_indexes(header(7) + b"\0abc") == ((0,), 6)
    assert message_indexes(header(7) + b"\2\0abc") == ((0,), 7)


@given(st.binary(max_size=12))
def test_any_bytes_are_numbers_or_an_error(rest):
    try:
        indexes, at = message_indexes(header(7) + rest)
    except ValueError:
        return
    assert indexes
    assert all(index >= 0 for index in indexes)
    assert HEADER < at <= HEADER + len(rest)


@pytest.mark.parametrize("rest", [b"", b"\x80", b"\x02", b"\x02\x01", b"\x01\x00", b"\xff\xff\xff\xff\x7f"])
def test_numbers_that_make_no_sense(rest):
    with pytest.raises(ValueError, match="message index"):
        message_indexes(header(7) + rest)
