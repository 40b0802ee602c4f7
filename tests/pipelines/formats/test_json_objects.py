"""JSON records keep their numbers and keys, or are refused."""

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.formats.messages import decode_objects

GOOD = b'{"id":1,"in":{"a":"\\\\\\": :"},"text":"x"}'


@pytest.mark.parametrize(
    "value",
    [
        b'{"a":1,"a":2}',
        b'{"a" : 1, "a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":[{"b":1,"\\u0062":2}]}',
        b'{"x":"\\u0022:","a":1,"a":2}',
        b'{"x":"\\u0021:","a":1,"a":2}',
        b'{"x":"\\u003A","a":1,\n"a"\t:2}',
        b'{"x":"\\": ","a":{},"a":3}',
    ],
)
def test_a_key_that_appears_twice_is_refused(value):
    found = decode_objects([GOOD, value, GOOD], "json")
    assert found.rows == [0, 2]
    assert list(found.bad) == [1]
    assert found.bad[1] in ("field 'a' appears twice", "field 'b' appears twice")
    assert found.records == [json.loads(GOOD)] * 2


def test_a_number_that_a_double_does_not_hold_stays_as_written_or_is_refused():
    values = [b'{"n":[0.12345678901234567890]}', GOOD, b'{"n":1e-400,"m":123456789012345678901234567890}']
    values += [b'{"n":-1e400}', b"oops", b'{"n":1e999,"a":{"b":1,"b":2}}']
    found = decode_objects(values, "json", as_written=True)
    assert [json.loads(line) for line in map(msgspec.json.encode, found.records)] == list(
        map(json.loads, values[:4])
    )
    assert (found.rows, list(found.bad)) == ([0, 1, 2, 3], [4, 5])
    assert b"0.12345678901234567890" in msgspec.json.encode(found.records[0])
    refused = decode_objects(values, "json")
    assert refused.rows == [1]
    assert refused.bad[3] == "the number -1e400 has more digits than a double holds"
    assert refused.bad[5] == "field 'b' appears twice"
    assert refused.bad[0] == "the number 0.12345678901234567890 has more digits than a double holds"


TEXT = st.text(st.sampled_from('ab\\": ,{}e.0159\u00e9'), max_size=8)
NUMBERS = st.sampled_from(
    ["0", "-0.0", "1.5", "2e3", "0.1234567890123456789", "1e-999", "12345678901234567890"]
)
SCALARS = TEXT.map(json.dumps) | NUMBERS | st.sampled_from(["null", "true"])


def objects(values):
    pair = st.tuples(TEXT.map(json.dumps), values)
    return st.lists(pair, max_size=4).map(lambda pairs: "{" + ", ".join(f"{k}:{v}" for k, v in pairs) + "}")


VALUES = st.recursive(
    SCALARS, lambda v: objects(v) | st.lists(v, max_size=3).map(lambda v: f"[{','.join(v)}]"), max_leaves=6
)


@given(st.lists(objects(VALUES), min_size=1, max_size=5))
def test_what_comes_out_is_what_went_in_or_is_refused(texts):
    expected = {}
    for row, text in enumerate(texts):
        twice = []

        def once(pairs, twice=twice):
            twice += [name for name, _ in pairs if [n for n, _ in pairs].count(name) > 1]
            return dict(pairs)

        record = json.loads(text, parse_float=Decimal, object_pairs_hook=once)
        if not twice:
            expected[row] = record
    found = decode_objects([text.encode() for text in texts], "json", as_written=True)
    assert list(found.rows) == list(expected)
    assert sorted([*found.rows, *found.bad]) == list(range(len(texts)))
    written = [json.loads(msgspec.json.encode(record), parse_float=Decimal) for record in found.records]
    assert written == list(expected.values())
