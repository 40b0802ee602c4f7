"""Masks on fields of records, as Arrow, as Python objects, and as the bytes of dead letters."""

import json

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.errors import ConfigurationError
from encoder.masks import Masks
from pipelines.records.bad_rows import BadRow, DeadLetter
from pipelines.records.masked_fields import MaskedFields

CARD = "4111 1111 1111 1111"


def fields(*names):
    return MaskedFields(names, Masks.parse("card,email"))


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
    ids=str,
)
def test_texts_of_every_type_are_masked_and_keep_it(kind):
    batch = pa.record_batch({"id": [1, 2, 3], "note": pa.array([f"by {CARD}", None, "x"]).cast(kind)})
    found = fields("note").batch(batch)
    assert found.schema == batch.schema
    assert found["note"].to_pylist() == ["by <card>", None, "x"]
    assert found["id"].equals(batch["id"])
    assert fields("note").batch(batch.slice(1))["note"].to_pylist() == [None, "x"]


def test_structs_and_lists_are_masked_inside():
    user = pa.array([{"name": CARD, "age": 3}, None, {"name": "x", "age": None}])
    notes = pa.array([[CARD, "x"], None, []])
    batch = pa.record_batch({"user": user, "notes": notes, "other": [CARD] * 3})
    found = fields("user.name", "notes").batch(batch)
    assert found["user"].to_pylist() == [{"name": "<card>", "age": 3}, None, {"name": "x", "age": None}]
    assert found["notes"].to_pylist() == [["<card>", "x"], None, []]
    assert found["other"].to_pylist() == [CARD] * 3
    sliced = fields("user.name", "notes").batch(batch.slice(1))
    assert sliced["user"].to_pylist() == [None, {"name": "x", "age": None}]
    assert sliced["notes"].to_pylist() == [None, []]


@pytest.mark.parametrize(
    ("kind", "is_text"),
    [
        (pa.string(), True),
        (pa.list_(pa.string()), True),
        (pa.struct([("a", pa.large_string())]), True),
        (pa.int64(), False),
        (pa.binary(), False),
        (pa.list_(pa.int64()), False),
        (pa.struct([("a", pa.string()), ("b", pa.float64())]), False),
        (pa.map_(pa.string(), pa.string()), False),
    ],
    ids=str,
)
def test_a_field_that_holds_no_text_is_refused(kind, is_text):
    schema = pa.schema({"note": kind})
    if is_text:
        fields("note").check(schema)
    else:
        with pytest.raises(ConfigurationError, match="--mask-fields names 'note', which holds"):
            fields("note").check(schema)
    with pytest.raises(ConfigurationError, match="names 'nota', which is not a kept field: there are note"):
        fields("nota").check(schema)


def test_records_are_masked_in_place_at_any_depth():
    record = {
        "id": 4111111111111111,
        "note": [f"by {CARD}", {"mail": "a@b.org", "ok": True, "none": None, "n": 5}],
        "card": 4111111111111111,
        "raw": msgspec.Raw(b"4111111111111111.0"),
        "a.b": CARD,
        "user": {"card": CARD, "name": "x"},
    }
    fields("note", "card", "raw", "a.b", "user.card", "missing", "id.x").records([record, {}])
    assert record == {
        "id": 4111111111111111,
        "note": ["by <card>", {"mail": "<email>", "ok": True, "none": None, "n": 5}],
        "card": "<card>",
        "raw": "<card>.0",
        "a.b": "<card>",
        "user": {"card": "<card>", "name": "x"},
    }


def escaped(text):
    return "".join(f"\\u{ord(char):04X}" if k % 2 else char for k, char in enumerate(text))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f'{{"note": "by {CARD}", "id": 5}}', '{"note": "by <card>", "id": 5}'),
        (f'{{"note": "{escaped(CARD)}"}}', '{"note": "<card>"}'),
        ('{"note": "a\\u0040b.org"', '{"note": "<email>"'),
        ('{"note": "\\u0022 \\n \\/ x"}', '{"note": "\\u0022 \\n \\/ x"}'),
    ],
)
def test_the_bytes_of_a_dead_letter_are_masked_as_text(value, expected):
    assert fields("x").value(value.encode()) == expected.encode()
    assert fields("x").value(None) is None


@given(st.binary())
def test_any_bytes_can_be_masked(value):
    once = fields("x").value(value)
    assert fields("x").value(once) == once


@given(st.text())
def test_json_with_an_escaped_card_never_keeps_it(text):
    value = json.dumps({"note": f"{text} {CARD}"}).encode()
    assert CARD.encode() not in fields("x").value(value)


def test_reasons_are_masked_too():
    masked = fields("x")
    assert masked.letter(DeadLetter(3, "TASK_PUT", f"bad: {CARD}")) == DeadLetter(
        3, "TASK_PUT", "bad: <card>"
    )
    bad = masked.bad_row(BadRow("f", 1, f"bad: {CARD}", CARD.encode()))
    assert bad == BadRow("f", 1, "bad: <card>", b"<card>")
