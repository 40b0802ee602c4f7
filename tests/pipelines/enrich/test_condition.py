"""Conditions on the columns that a model adds."""

import operator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.errors import ConfigurationError
from pipelines.enrich.condition import Condition

VOTE = pa.struct([("label", pa.string()), ("share", pa.float32())])
BATCH = pa.record_batch(
    {
        "model_version": pa.array(["m@1"] * 4).dictionary_encode(),
        "fraud_label": pa.array(["fraud", "honest", "fraud", "honest"]).dictionary_encode(),
        "fraud_score": pa.array([0.9, 0.6, 0.3, 1.0], pa.float32()),
        "odd_novel": pa.array([True, False, True, False]),
        "known_label": pa.array(["testing", None, None, "theft"]),
        "known_vote": pa.array(
            [{"label": "testing", "share": 0.7}, None, None, {"label": "theft", "share": 1.0}], VOTE
        ),
        "tags_labels": pa.array([["a", "b"], [], ["b"], ["c"]], pa.list_(pa.string())),
    }
)


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("fraud_score >= 0.9", [0, 3]),
        ("fraud_score == 0.9", [0]),  # as a float32, like the column
        ("0.5 < fraud_score < 0.95", [0, 1]),
        ("fraud_score > -1", [0, 1, 2, 3]),
        ("fraud_label == 'fraud'", [0, 2]),
        ("'fraud' != fraud_label", [1, 3]),
        ("fraud_label == 'fraud' and fraud_score > 0.5", [0]),
        ("fraud_score > 0.95 or odd_novel", [0, 2, 3]),
        ("not odd_novel", [1, 3]),
        ("known_label is None", [1, 2]),
        ("known_label is not None", [0, 3]),
        ("known_label != 'theft'", [0]),  # null holds for no row
        ("not known_label == 'theft'", [0]),
        ("known_label in ('theft', 'x')", [3]),
        ("known_label not in ['theft']", [0]),
        ("known_label in []", []),
        ("known_vote.share >= 0.8", [3]),
        ("known_vote.label == known_label", [0, 3]),
        ("'b' in tags_labels", [0, 2]),
        ("'b' not in tags_labels", [1, 3]),
        ("model_version == 'm@1'", [0, 1, 2, 3]),
        ("  fraud_score >= 0.9 ", [0, 3]),
    ],
)
def test_rows_are_those_for_which_it_holds(source, rows):
    condition = Condition.parse(source)
    condition.check(BATCH.schema)
    assert np.flatnonzero(condition(BATCH)).tolist() == rows
    assert np.flatnonzero(condition(BATCH.slice(1))).tolist() == [row - 1 for row in rows if row]
    assert condition(BATCH.slice(0, 0)).tolist() == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "invalid syntax"),
        ("fraud_score >=", "invalid syntax"),
        ("fraud_score = 0.9", "invalid syntax"),
        ("fraud_score > 0.9; import os", "invalid syntax"),
        ("\0", "null bytes"),
        ("(" * 9_000, "too many nested parentheses|too complex|stack"),
    ],
)
def test_what_is_no_expression_is_refused(source, reason):
    with pytest.raises(ConfigurationError, match=rf"cannot read the condition [^(]*\(.*({reason})") as found:
        Condition.parse(source)
    assert "fraud_score >= 0.9" in str(found.value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("amount > 3", "there is no column 'amount'; the model adds model_version, fraud_label"),
        ("known_vote.votes > 3", "there is no .votes, but label, share"),
        ("fraud_label.x == 'a'", ".x is a part of no struct"),
        ("fraud_score", "neither true nor false"),
        ("True", "neither true nor false"),
        ("1 < 2", "'1' and '2' are not columns"),
        ("fraud_score == None", "write `is None`"),
        ("fraud_score is True", "`is` is for"),
        ("fraud_label > 3", "string"),
        ("fraud_score > 'a'", "float"),
        ("fraud_score and odd_novel", "float"),
        ("fraud_label in 'fraud'", "`in` is for"),
        ("fraud_label in [1, 2]", "1"),
        ("__import__('os').system('true')", "is not a comparison of columns"),
        ("[x for x in fraud_label]", "is not a comparison of columns"),
        ("fraud_score + 1 > 1", "is not a comparison of columns"),
        ("(lambda: 1)()", "is not a comparison of columns"),
        ("not " * 1000 + "odd_novel", ""),
    ],
)
def test_what_the_columns_do_not_answer_is_refused_before_any_record(source, reason):
    with pytest.raises(ConfigurationError) as found:
        Condition.parse(source).check(BATCH.schema)
    assert reason in str(found.value)


OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
FLOATS = st.floats(-2, 2, width=32)


@given(st.lists(st.none() | FLOATS), st.sampled_from(sorted(OPERATORS)), FLOATS)
def test_comparisons_are_pythons(values, name, bound):
    batch = pa.record_batch({"score": pa.array(values, pa.float32())})
    wanted = [value is not None and OPERATORS[name](value, bound) for value in values]
    assert Condition.parse(f"score {name} {bound!r}")(batch).tolist() == wanted
    either = Condition.parse(f"score {name} {bound!r} or not score {name} {bound!r}")
    assert either(batch).tolist() == [value is not None for value in values]
