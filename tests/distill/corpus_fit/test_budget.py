"""How many texts a teacher reads in a time."""

import pytest

from distill import distill
from distill.corpus_fit import budget
from distill.corpus_fit.budget import affordable, check_budget
from distill.corpus_fit.sample import MIN_TEXTS
from encoder.errors import ConfigurationError

TEXTS = [f"text {i}" for i in range(10_000)]


class Reader:
    """A teacher that takes so many seconds for a text, and is slower the first time it is called."""

    def __init__(self, seconds_a_text, monkeypatch):
        self.now, self.seconds, self.first = 0.0, seconds_a_text, 5.0
        monkeypatch.setattr(budget.time, "perf_counter", lambda: self.now)

    def embed(self, texts):
        self.now += self.seconds * len(texts) + self.first
        self.first = 0.0


@pytest.mark.parametrize(
    ("seconds_a_text", "seconds", "expected"),
    [
        (0.25, 1800, 7200),
        (0.25, 1.5 * 1800, 10_000),  # there are no more
        (0.25, 1800 + 10, 7200),  # two digits
        (0.25, 600, 2400),
        (60.0, 600, MIN_TEXTS),
    ],
)
def test_as_many_texts_are_read_as_the_time_is_enough_for(monkeypatch, seconds_a_text, seconds, expected):
    assert affordable(Reader(seconds_a_text, monkeypatch), TEXTS, seconds) == expected


def test_a_small_corpus_is_read_whole(monkeypatch):
    reader = Reader(1.0, monkeypatch)
    assert affordable(reader, TEXTS[:2000], 10) == 2000
    assert not reader.now


def test_the_number_of_texts_and_the_time_are_not_both_given():
    with pytest.raises(ConfigurationError, match="`sample` or `time_budget`, not both"):
        check_budget(1000, 60.0)
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigurationError, match=r"`time_budget` is .*: it must be longer than 0"):
            check_budget(None, seconds)


@pytest.mark.slow
def test_what_the_teacher_has_no_time_for_is_counted(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "_PROBE", 64)
    corpus = [f"card {i} refused at the terminal" for i in range(1000)]
    result = distill(teacher, dims=8, corpus=corpus, time_budget=1e-6, refine=False, cache=tmp_path)
    assert result.report.texts + result.report.held_out == MIN_TEXTS
    assert result.report.left_out == 900
    again = distill(teacher, dims=8, corpus=corpus, sample=MIN_TEXTS, refine=False, cache=tmp_path)
    assert again.report.left_out == 0
    assert (again.model.table == result.model.table).all()
