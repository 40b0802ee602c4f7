"""`embed` on frames of pandas."""

import numpy as np
import pandas as pd
import pytest

from encoder.errors import ConfigurationError, InputError, TemplateError
from pipelines.dataframes.pandas import embed


@pytest.fixture
def frame():
    messages = ["login failed", None, "card used in tokyo", "order paid"]
    return pd.DataFrame({"message": messages, "at": pd.Timestamp("2026-01-31")}, index=[7, 7, 9, 8])


def test_columns_are_added_and_the_rest_stays(frame, headed, encoder):
    before = frame.copy()
    found = embed(frame, str(headed("fraud")), "message")
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(found[["message", "at"]], before)
    assert list(found.columns[2:]) == ["embedding", "model_version", "fraud_label", "fraud_score"]
    assert found["embedding"].isna().to_list() == [False, True, False, False]
    assert found["fraud_score"].isna().to_list() == [False, True, False, False]
    vectors = np.stack(found["embedding"].dropna().to_list())
    assert np.array_equal(np.float32(vectors), encoder.encode(frame["message"].dropna().to_list()))


@pytest.mark.parametrize("kind", ["object", "string", "category", "string[pyarrow]"])
def test_texts_of_every_kind_of_column(kind, frame, model):
    found = embed(frame.astype({"message": kind}), str(model), "message")
    assert found["embedding"].to_list() == embed(frame, str(model), "message")["embedding"].to_list()
    assert found["message"].dtype == frame["message"].astype(kind).dtype


def test_a_frame_without_rows_has_the_columns(frame, model):
    found = embed(frame.iloc[:0], str(model), "message")
    assert list(found.columns) == ["message", "at", "embedding", "model_version"]


def test_columns_that_do_not_fit_are_named(frame, model):
    with pytest.raises(TemplateError, match="no column 'massage': use one of message, at"):
        embed(frame, str(model), "massage")
    with pytest.raises(ConfigurationError, match="a column 'model_version', and Millstream adds one"):
        embed(frame.assign(model_version="x"), str(model), "message")
    mixed = frame.assign(message=pd.Series(["paid", 3, b"x", None], index=frame.index, dtype=object))
    with pytest.raises(InputError, match=r"a column of the text has values of several types.*astype\(str\)"):
        embed(mixed, str(model), "message")
