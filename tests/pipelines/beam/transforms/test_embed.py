"""`Embed` over dicts, rows and strings."""

from decimal import Decimal
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, GlobalWindows, SlidingWindows, TimestampedValue
from hypothesis import given
from hypothesis import strategies as st

from encoder.errors import InputError
from pipelines import Embed, ModelVersion
from pipelines.beam.transforms.embed import _texts
from pipelines.records.template import TextTemplate


class Event(NamedTuple):
    id: int
    text: str


@pytest.fixture
def pipeline():
    return lambda: beam.Pipeline(runner="FnApiRunner", argv=["--direct_num_workers=1"])


@pytest.fixture
def vector(encoder):
    return lambda text: encoder.encode(text).tolist()


@pytest.fixture
def label(model):
    return ModelVersion.resolve(str(model)).label


def test_dicts_keep_their_fields_and_are_not_changed(pipeline, model, vector, label):
    given_ = [{"id": i, "text": f"login failed {i}"} for i in range(5)]
    expected = [{**one, "embedding": vector(one["text"]), "model_version": label} for one in given_]
    with pipeline() as p:
        assert_that(p | beam.Create(given_) | Embed(str(model), batch_size=2), equal_to(expected))
    assert set(given_[0]) == {"id", "text"}


@pytest.mark.parametrize("kind", [beam.Row, Event])
def test_rows_become_rows(kind, pipeline, model, vector, label):
    expected = beam.Row(id=1, text="paid", embedding=vector("paid"), model_version=label)
    with pipeline() as p:
        assert_that(p | beam.Create([kind(id=1, text="paid")]) | Embed(str(model)), equal_to([expected]))


def test_strings_become_dicts(pipeline, model, vector, label):
    expected = [{"text": text, "embedding": vector(text), "model_version": label} for text in ("paid", "")]
    with pipeline() as p:
        assert_that(p | beam.Create(["paid", ""]) | Embed(str(model)), equal_to(expected))


def test_templates_reach_into_records(pipeline, model, vector):
    records = [
        {"user": {"name": "ana"}, "n": 7},
        {"user": {"name": "bo"}, "n": "many"},  # another type under the same name
        {"user.name": "cy"},
    ]
    with pipeline() as p:
        found = p | beam.Create(records) | Embed(str(model), "{user.name} used {n}")
        expected = [vector(text) for text in ("ana used 7", "bo used many", "cy used ")]
        assert_that(found | beam.Map(lambda one: one["embedding"]), equal_to(expected))


@pytest.mark.parametrize("windows", [FixedWindows(2), SlidingWindows(4, 2)])
def test_elements_keep_their_times_and_windows(windows, pipeline, model):
    def place(element, time=beam.DoFn.TimestampParam, window=beam.DoFn.WindowParam):
        return element["id"], float(time), float(window.start), float(window.end)

    with pipeline() as p:
        placed = (
            p
            | beam.Create(range(9))
            | beam.Map(lambda i: TimestampedValue({"id": i, "text": "paid"}, i))
            | beam.WindowInto(windows)
        )
        parts = {
            name: part | f"place {name}" >> beam.Map(place) | f"pair {name}" >> beam.Map(lambda at: (at, 1))
            for name, part in (("expected", placed), ("found", placed | Embed(str(model), batch_size=4)))
        }
        everywhere = {
            name: part | f"all {name}" >> beam.WindowInto(GlobalWindows()) for name, part in parts.items()
        }
        different = (
            everywhere | beam.CoGroupByKey() | beam.Filter(lambda one: one[1]["expected"] != one[1]["found"])
        )
        assert_that(different, equal_to([]))


def test_bad_elements_leave_one_by_one(pipeline, model):
    records = [
        {"id": 1, "text": "paid"},
        {"id": 2, "text": None},
        {"id": 3},
        7,
        "paid",
    ]
    with pipeline() as p:
        both = p | beam.Create(records) | Embed(str(model)).with_exception_handling()
        good = both.good | beam.Map(lambda one: one.get("id", one["text"]))
        assert_that(good, equal_to([1, "paid"]))
        bad = both.bad | beam.MapTuple(lambda row, error: (row if row == 7 else row["id"], error[0]))
        assert_that(bad, equal_to([(number, InputError) for number in (2, 3, 7)]), label="bad")


def test_without_a_handler_a_bad_element_fails_the_pipeline(pipeline, model):
    with pytest.raises(Exception, match="the text is null: message"), pipeline() as p:
        _ = p | beam.Create([{"text": "paid"}]) | Embed(str(model), "message")


def test_the_model_may_be_a_side_input_that_changes_with_the_window(pipeline, model, tiny_model, tmp_path):
    other = tiny_model(tmp_path / "other", seed=8)
    versions = [ModelVersion.resolve(str(ref)) for ref in (model, other)]

    def window(p, name, values):
        stamped = p | name >> beam.Create(values) | f"{name} at" >> beam.MapTuple(TimestampedValue)
        return stamped | f"{name} in" >> beam.WindowInto(FixedWindows(10))

    with pipeline() as p:
        version = window(p, "versions", [(versions[0], 0), (versions[1], 10)])
        records = window(p, "records", [({"id": i, "text": "paid"}, i) for i in range(20)])
        found = records | Embed(beam.pvalue.AsSingleton(version), batch_size=64)
        labels = found | beam.Map(lambda one: (one["id"], one["model_version"]))
        expected = [(i, versions[i // 10].label) for i in range(20)]
        assert_that(labels | beam.WindowInto(GlobalWindows()), equal_to(expected))


values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=5)
    | st.lists(st.integers(0, 9))
)


@given(st.lists(st.fixed_dictionaries({}, optional={"a": values, "b": values}), min_size=1, max_size=6))
def test_a_text_does_not_depend_on_its_neighbours(records):
    template = TextTemplate.parse("{a}: {b}")
    together, bad = _texts(records, template)
    for row, record in enumerate(records):
        alone, alone_bad = _texts([record], template)
        assert together[row] == alone[0]
        assert (row in bad) == (0 in alone_bad)


def test_a_text_that_is_no_unicode_is_bad_by_itself():
    texts, bad = _texts([{"a": "\ud800"}, {"a": "paid"}], TextTemplate.parse("a"))
    assert texts.to_pylist() == [None, "paid"]
    assert list(bad) == [0]
    assert "surrogates not allowed" in str(bad[0])


def test_vectors_are_those_of_the_encoder(pipeline, model, encoder):
    texts = [f"card used at {i}" for i in range(100)]
    with pipeline() as p:
        found = p | beam.Create(texts) | Embed(str(model), batch_size=7)
        pairs = found | beam.Map(lambda one: (one["text"], one["embedding"]))
        expected = dict(zip(texts, encoder.encode(texts), strict=True))

        def same(pairs):
            assert len(pairs) == len(texts)
            assert all(np.array_equal(np.float32(vector), expected[text]) for text, vector in pairs)

        assert_that(pairs, same)


def deep(levels):
    """Lists in a list: as deep as JSON decoders read."""
    made = []
    for _ in range(levels):
        made = [made]
    return made


@pytest.mark.parametrize(
    "value", [10**30, "\ud800", object(), deep(900), {"a": 10**30}, [1, "x"], b"\xff", 1e999, Decimal("sNaN")]
)
def test_an_element_that_no_text_can_be_made_of_leaves_alone(value):
    elements = [{"text": f"login failed {i}"} for i in range(20)]
    elements[7] = {"text": value}
    texts, bad = _texts(elements, TextTemplate.parse("text"))
    assert set(bad) <= {7}
    assert [text for i, text in enumerate(texts.to_pylist()) if i != 7] == [
        f"login failed {i}" for i in range(20) if i != 7
    ]
    for error in bad.values():
        assert str(error).encode()  # of no lone surrogates
