"""Which elements have a vector, and the batches that Beam makes of them."""

from itertools import chain

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue

from encoder import Encoder
from pipelines.beam.transforms.element_texts import apart, encode_texts, is_text, is_text_or_keyed

BAD = [7, float("nan"), b"paid", ["paid"], "\ud800", "caf\udce9"]


@pytest.mark.parametrize("value", BAD)
def test_what_has_no_vector(value):
    assert not is_text(value)
    assert not is_text_or_keyed(value)
    assert not is_text_or_keyed((1, value))


@pytest.mark.parametrize("value", ["", "paid", "café", "\N{GRINNING FACE}", None])
def test_what_has_one(value):
    assert is_text(value)
    assert is_text_or_keyed((1, value))


def test_nothing_has_no_vectors(model):
    encoder = Encoder.load(model)
    assert encode_texts([], encoder).shape == (0, encoder.dim)


@pytest.mark.parametrize(("size", "windows"), [(1, 0), (4, 0), (4096, 0), (4, 60)])
def test_each_bad_element_is_a_batch_of_its_own(size, windows):
    elements = [7, "a", "b", 8, 9, *"cdefghij", b"k", "l"]

    def check(batches):
        batches = [batch for batch in batches if batch]  # Beam makes empty ones before those that are full
        bad = [batch for batch in batches if not all(map(is_text, batch))]
        assert sorted(bad, key=str) == [[7], [8], [9], [b"k"]]
        good = [batch for batch in batches if batch not in bad]
        assert sorted(chain.from_iterable(good)) == list("abcdefghijl")
        assert max(map(len, good)) <= size

    with beam.Pipeline(runner="FnApiRunner", argv=["--direct_num_workers=1"]) as p:
        found = p | beam.Create([elements]) | beam.FlatMap(lambda one: one)
        if windows:
            found = (
                found
                | beam.Map(lambda one: TimestampedValue(one, 0))
                | beam.WindowInto(FixedWindows(windows))
            )
        batches = found | beam.BatchElements(**apart({"max_batch_size": size}, is_text))
        assert_that(batches | "global" >> beam.WindowInto(GlobalWindows()), check)


def test_bad_elements_that_wait_for_others_wait_for_bad_ones_alone():
    def check(batches):
        kinds = [{is_text(one) for one in batch} for batch in batches]
        assert sorted(kinds, key=str) == [{False}, {True}]

    with beam.Pipeline(runner="FnApiRunner", argv=["--direct_num_workers=1"]) as p:
        options = apart({"max_batch_size": 64, "max_batch_duration_secs": 60}, is_text)
        assert_that(p | beam.Create([7, "a", 8, "b"]) | beam.BatchElements(**options), check)


def test_what_the_user_says_of_sizes_stays():
    def one_byte(_):
        return 1

    options = apart({"element_size_fn": one_byte, "length_fn": one_byte, "max_batch_size": 9}, is_text)
    assert options["element_size_fn"] is options["length_fn"] is one_byte
    assert (options["min_batch_size"], options["max_batch_size"]) == (9, 9)
    assert "bucket_boundaries" not in options
